
/*
 * Copies bytes between a client's connection and the relay, where the relay cannot have the connection
 * itself because its TLS ends in nginx.
 *
 * An idle pump has no buffer. Bytes in passing use the worker's buffer. What the other side does not
 * take at once is kept on the heap, at most one read, and nothing is read before it has gone.
 */


#include "ngx_http_waystation_module.h"

#include <poll.h>


/* One read: as much as a TLS record. */
#define NGX_HTTP_WAYSTATION_READ_SIZE  16384

/* Reads for one direction before the worker's other connections have their turn. */
#define NGX_HTTP_WAYSTATION_READS      8

/* While the relay is not read, event methods that report a state do not tell that it hangs up. */
#define NGX_HTTP_WAYSTATION_CHECK      1000

/* A timer that keeps an exiting worker alive. It has no other effect. */
#define NGX_HTTP_WAYSTATION_KEEP_WORKER  (60 * 60 * 1000)


/* One direction. */

typedef struct {
    ngx_connection_t          *from;
    ngx_connection_t          *to;
    u_char                    *kept;        /* NULL: nothing is kept */
    size_t                     size;        /* bytes in `kept` */
    size_t                     sent;        /* of them */
    unsigned                   ended:1;     /* the end was passed on */
    unsigned                   broken:1;    /* `to` takes no more */
} ngx_http_waystation_flow_t;


struct ngx_http_waystation_pump_s {
    ngx_connection_t           *client;
    ngx_connection_t           *relay;
    ngx_http_waystation_flow_t  up;         /* from the client to the relay */
    ngx_http_waystation_flow_t  down;
    ngx_msec_t                  linger;     /* for the client, after the relay's end */
    unsigned                    lingering:1;
};


static void ngx_http_waystation_pump_free_request(ngx_connection_t *c, ngx_http_request_t *r);
static void ngx_http_waystation_pump_handler(ngx_event_t *ev);
static void ngx_http_waystation_pump_run(ngx_http_waystation_pump_t *pump);
static void ngx_http_waystation_pump_close(ngx_http_waystation_pump_t *pump);
static ngx_int_t ngx_http_waystation_flow(ngx_http_waystation_flow_t *flow);
static ngx_int_t ngx_http_waystation_flow_kept(ngx_http_waystation_flow_t *flow);
static ngx_int_t ngx_http_waystation_flow_sent(ngx_http_waystation_flow_t *flow);
static ngx_int_t ngx_http_waystation_flow_end(ngx_http_waystation_flow_t *flow);
static ngx_int_t ngx_http_waystation_flow_pause(ngx_http_waystation_flow_t *flow);
static void ngx_http_waystation_flow_free(ngx_http_waystation_flow_t *flow);
static ngx_uint_t ngx_http_waystation_has_hung_up(ngx_connection_t *c);


ngx_http_waystation_pump_t *
ngx_http_waystation_pump_create(ngx_connection_t *c, ngx_socket_t *given)
{
    int                          fds[2];
    ngx_connection_t            *relay;
    ngx_http_waystation_pump_t  *pump;

    pump = ngx_pcalloc(c->pool, sizeof(ngx_http_waystation_pump_t));
    if (pump == NULL) {
        return NULL;
    }

    if (socketpair(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0, fds) == -1) {
        ngx_log_error(NGX_LOG_ERR, c->log, ngx_socket_errno, "waystation_pass: socketpair() failed");
        return NULL;
    }

    relay = ngx_get_connection(fds[0], c->log);
    if (relay == NULL) {
        ngx_close_socket(fds[0]);
        ngx_close_socket(fds[1]);
        return NULL;
    }

    relay->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    relay->log_error = NGX_ERROR_INFO;
    relay->recv = ngx_recv;
    relay->send = ngx_send;
    relay->read->log = c->log;
    relay->write->log = c->log;

    pump->client = c;
    pump->relay = relay;
    pump->up.from = c;
    pump->up.to = relay;
    pump->down.from = relay;
    pump->down.to = c;

    *given = fds[1];

    return pump;
}


void
ngx_http_waystation_pump_cancel(ngx_http_waystation_pump_t *pump)
{
    ngx_close_connection(pump->relay);
}


void
ngx_http_waystation_pump_start(ngx_http_waystation_pump_t *pump, ngx_http_request_t *r)
{
    ngx_connection_t          *c, *relay;
    ngx_http_core_loc_conf_t  *clcf;

    c = pump->client;
    relay = pump->relay;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    pump->linger = clcf->lingering_time;

    /* As for other connections that nginx upgrades. An error is in the log, and costs speed only. */

    if (clcf->tcp_nodelay) {
        (void) ngx_tcp_nodelay(c);
    }

    ngx_http_waystation_pump_free_request(c, r);

    c->data = pump;
    relay->data = pump;

    c->log->action = "passing bytes between client and relay";

    c->read->handler = ngx_http_waystation_pump_handler;
    c->write->handler = ngx_http_waystation_pump_handler;
    relay->read->handler = ngx_http_waystation_pump_handler;
    relay->write->handler = ngx_http_waystation_pump_handler;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        /* What was not sent is kept at another address. */
        SSL_set_mode(c->ssl->connection, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
#endif

    /*
     * The pump's timers are those of the relay's events. While TLS waits for the other direction, nginx
     * replaces the handlers of the client's.
     */

    ngx_add_timer(relay->write, NGX_HTTP_WAYSTATION_KEEP_WORKER);

    ngx_http_waystation_pump_run(pump);
}


/*
 * Frees the request and what nginx keeps for the next one, as nginx does for an idle connection. The
 * request is logged now: its connection may live for days.
 */

static void
ngx_http_waystation_pump_free_request(ngx_connection_t *c, ngx_http_request_t *r)
{
    ngx_chain_t            *cl, *ln;
    ngx_http_connection_t  *hc;

    hc = r->http_connection;

    ngx_http_free_request(r, 0);

    (void) ngx_pfree(c->pool, c->buffer->start);
    c->buffer = NULL;

    for (cl = hc->free; cl; /* void */) {
        ln = cl;
        cl = cl->next;
        (void) ngx_pfree(c->pool, ln->buf->start);
        ngx_free_chain(c->pool, ln);
    }

    for (cl = hc->busy; cl; /* void */) {
        ln = cl;
        cl = cl->next;
        (void) ngx_pfree(c->pool, ln->buf->start);
        ngx_free_chain(c->pool, ln);
    }

    hc->free = NULL;
    hc->busy = NULL;
    hc->nbusy = 0;

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        ngx_ssl_free_buffer(c);
    }
#endif
}


static void
ngx_http_waystation_pump_handler(ngx_event_t *ev)
{
    ngx_connection_t            *c;
    ngx_http_waystation_pump_t  *pump;

    c = ev->data;
    pump = c->data;

    if (c->close) {
        /* worker_shutdown_timeout */
        ngx_http_waystation_pump_close(pump);
        return;
    }

    if (ev->timedout) {
        ev->timedout = 0;

        if (ev->write) {
            ngx_add_timer(ev, NGX_HTTP_WAYSTATION_KEEP_WORKER);

        } else if (pump->lingering) {
            ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                          pump->down.ended ? "the client did not end its connection"
                                           : "the client did not read the last bytes");
            ngx_http_waystation_pump_close(pump);
            return;
        }
    }

    ngx_http_waystation_pump_run(pump);
}


static void
ngx_http_waystation_pump_run(ngx_http_waystation_pump_t *pump)
{
    ngx_uint_t    hung_up;
    ngx_event_t  *rev;

    /*
     * The relay's bytes come first: if it has closed its end, its last bytes are still to be read, and
     * what the client sends has nowhere to go.
     */

    if (ngx_http_waystation_flow(&pump->down) != NGX_OK
        || ngx_http_waystation_flow(&pump->up) != NGX_OK
        || pump->down.broken)
    {
        ngx_http_waystation_pump_close(pump);
        return;
    }

    if (pump->up.broken && !pump->down.ended) {

        /* The relay closed its end in the meantime. */

        pump->relay->read->ready = 1;
        pump->relay->read->available = -1;

        if (ngx_http_waystation_flow(&pump->down) != NGX_OK || pump->down.broken) {
            ngx_http_waystation_pump_close(pump);
            return;
        }
    }

    rev = pump->relay->read;
    hung_up = (pump->down.kept || pump->down.ended) && ngx_http_waystation_has_hung_up(pump->relay);

    if (pump->down.ended && (pump->up.ended || pump->up.broken || hung_up)) {
        ngx_http_waystation_pump_close(pump);
        return;
    }

    if (rev->eof || pump->up.broken || hung_up) {

        /* The client's time to read the last bytes, and to end its own side. */

        if (!pump->lingering) {
            pump->lingering = 1;
            ngx_add_timer(rev, pump->linger);
        }

        return;
    }

    if (pump->down.kept && !rev->timer_set && !(ngx_event_flags & NGX_USE_CLEAR_EVENT)) {
        ngx_add_timer(rev, NGX_HTTP_WAYSTATION_CHECK);
    }
}


static void
ngx_http_waystation_pump_close(ngx_http_waystation_pump_t *pump)
{
    ngx_connection_t  *c;

    c = pump->client;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, c->log, 0, "waystation pump closed, up:%d down:%d",
                   (int) pump->up.ended, (int) pump->down.ended);

    ngx_http_waystation_flow_free(&pump->up);
    ngx_http_waystation_flow_free(&pump->down);

    ngx_close_connection(pump->relay);

    if (!pump->down.ended) {
        /* The client must not take a part of the relay's bytes for all of them. */
        c->error = 1;
    }

    /* Frees the pump, which is in the connection's pool. */

    ngx_http_close_connection(c);
}


/*
 * Copies until there is nothing to read or no room to write. Returns NGX_ERROR if the connection that
 * is read has failed; one that cannot be written to any more is marked as broken.
 */

static ngx_int_t
ngx_http_waystation_flow(ngx_http_waystation_flow_t *flow)
{
    ssize_t       n, sent;
    ngx_uint_t    reads;
    ngx_event_t  *rev;

    if (flow->ended || flow->broken) {
        return NGX_OK;
    }

    rev = flow->from->read;
    reads = 0;

    for ( ;; ) {

        if (flow->kept) {
            if (ngx_http_waystation_flow_kept(flow) == NGX_ERROR) {
                return NGX_ERROR;
            }

            if (flow->broken) {
                return NGX_OK;
            }

            if (flow->kept) {
                return ngx_http_waystation_flow_pause(flow);
            }
        }

        if (rev->eof) {
            return ngx_http_waystation_flow_end(flow);
        }

        if (!rev->ready) {
            return ngx_handle_read_event(rev, 0);
        }

        if (reads++ == NGX_HTTP_WAYSTATION_READS) {
            ngx_post_event(rev, &ngx_posted_next_events);
            return NGX_OK;
        }

        n = flow->from->recv(flow->from, ngx_http_waystation_buffer, NGX_HTTP_WAYSTATION_READ_SIZE);

        if (n == NGX_AGAIN) {
            /* rev->ready stays set if TLS has to write first. nginx then calls again when it can. */
            return ngx_handle_read_event(rev, 0);
        }

        if (n == 0) {
            continue;
        }

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        sent = flow->to->send(flow->to, ngx_http_waystation_buffer, n);

        if (sent == NGX_ERROR) {
            flow->broken = 1;
            return NGX_OK;
        }

        if (sent == NGX_AGAIN) {
            sent = 0;
        }

        if (sent < n) {
            flow->size = n - sent;
            flow->sent = 0;
            flow->kept = ngx_alloc(flow->size, flow->from->log);

            if (flow->kept == NULL) {
                return NGX_ERROR;
            }

            ngx_memcpy(flow->kept, ngx_http_waystation_buffer + sent, flow->size);
        }
    }
}


/* Sends what was kept. */

static ngx_int_t
ngx_http_waystation_flow_kept(ngx_http_waystation_flow_t *flow)
{
    ssize_t  n;

    while (flow->sent < flow->size) {

        n = flow->to->send(flow->to, flow->kept + flow->sent, flow->size - flow->sent);

        if (n == NGX_AGAIN) {
            return ngx_handle_write_event(flow->to->write, 0);
        }

        if (n == NGX_ERROR) {
            flow->broken = 1;
            break;
        }

        flow->sent += n;
    }

    ngx_http_waystation_flow_free(flow);

    return ngx_http_waystation_flow_sent(flow);
}


/* Event methods that report a state, rather than its change, would do so all the time. */

static ngx_int_t
ngx_http_waystation_flow_sent(ngx_http_waystation_flow_t *flow)
{
    ngx_event_t  *wev;

    wev = flow->to->write;
    wev->ready = 1;

    return ngx_handle_write_event(wev, 0);
}


static ngx_int_t
ngx_http_waystation_flow_pause(ngx_http_waystation_flow_t *flow)
{
    ngx_event_t  *rev;

    rev = flow->from->read;

    if ((ngx_event_flags & NGX_USE_LEVEL_EVENT) && rev->active) {
        return ngx_del_event(rev, NGX_READ_EVENT, 0);
    }

    return NGX_OK;
}


/* Passes the end on: a TLS close_notify, and the end of the stream. */

static ngx_int_t
ngx_http_waystation_flow_end(ngx_http_waystation_flow_t *flow)
{
    ngx_connection_t  *to;

    to = flow->to;

#if (NGX_HTTP_SSL)
    /* In the middle of a handshake message, such as a KeyUpdate, SSL_shutdown() fails. */

    if (to->ssl && !SSL_in_init(to->ssl->connection)) {
        int  n, err;

        ERR_clear_error();
        n = SSL_shutdown(to->ssl->connection);
        err = (n < 0) ? SSL_get_error(to->ssl->connection, n) : SSL_ERROR_NONE;

        /* OpenSSL's errors are one queue for all connections. */

        ERR_clear_error();

        if (err == SSL_ERROR_WANT_WRITE) {
            to->write->ready = 0;

            if (ngx_handle_write_event(to->write, 0) != NGX_OK) {
                return NGX_ERROR;
            }

            return ngx_http_waystation_flow_pause(flow);
        }
    }
#endif

    if (ngx_shutdown_socket(to->fd, SHUT_WR) == -1) {
        flow->broken = 1;
        return NGX_OK;
    }

    flow->ended = 1;

    if (ngx_http_waystation_flow_sent(flow) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_waystation_flow_pause(flow);
}


static void
ngx_http_waystation_flow_free(ngx_http_waystation_flow_t *flow)
{
    if (flow->kept) {
        ngx_free(flow->kept);
        flow->kept = NULL;
    }
}


/* Whether the other end of the socket pair is closed, rather than only its writing side. */

static ngx_uint_t
ngx_http_waystation_has_hung_up(ngx_connection_t *c)
{
    struct pollfd  pfd;

    pfd.fd = c->fd;
    pfd.events = 0;
    pfd.revents = 0;

    return poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLHUP);
}
