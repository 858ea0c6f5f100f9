
/* The exchange with the relay. The format is module/HANDOVER.md, version 1. */


#include "ngx_http_waystation_module.h"


#define NGX_HTTP_WAYSTATION_VERSION       1

#define NGX_HTTP_WAYSTATION_ASK           1
#define NGX_HTTP_WAYSTATION_GIVE          2
#define NGX_HTTP_WAYSTATION_REFUSE        3
#define NGX_HTTP_WAYSTATION_HERE          4

#define NGX_HTTP_WAYSTATION_ASK_TLS       1     /* flags of ASK */
#define NGX_HTTP_WAYSTATION_ASK_USER      2
#define NGX_HTTP_WAYSTATION_HERE_PUMPED   1     /* flags of HERE */

#define NGX_HTTP_WAYSTATION_MAX_MINOR     9
#define NGX_HTTP_WAYSTATION_MAX_METHOD    32
#define NGX_HTTP_WAYSTATION_MAX_USER      256
#define NGX_HTTP_WAYSTATION_MAX_SCOPES    1024
#define NGX_HTTP_WAYSTATION_MAX_FIELDS    256
#define NGX_HTTP_WAYSTATION_MAX_EARLY     65535

#define NGX_HTTP_WAYSTATION_UPGRADE_REQUIRED        426
#define NGX_HTTP_WAYSTATION_HEADER_FIELDS_TOO_LARGE 431


typedef struct {
    u_char                    *pos;
    u_char                    *end;
} ngx_http_waystation_reader_t;


static ngx_int_t ngx_http_waystation_connect(ngx_http_waystation_ctx_t *ctx, size_t size);
static ngx_int_t ngx_http_waystation_write_ask(ngx_http_waystation_ctx_t *ctx, size_t *size);
static void ngx_http_waystation_answer_handler(ngx_event_t *ev);
static void ngx_http_waystation_answer(ngx_http_waystation_ctx_t *ctx);
static void ngx_http_waystation_give(ngx_http_waystation_ctx_t *ctx);
static ngx_int_t ngx_http_waystation_push(ngx_connection_t *c);
static ngx_int_t ngx_http_waystation_detach(ngx_connection_t *c, ngx_socket_t *dead);
static ngx_int_t ngx_http_waystation_send_here(ngx_http_waystation_ctx_t *ctx, ngx_socket_t given,
    ngx_uint_t flags);
static void ngx_http_waystation_refuse(ngx_http_waystation_ctx_t *ctx, u_char *message,
    size_t size);
static ngx_int_t ngx_http_waystation_take_field(ngx_http_waystation_reader_t *reader,
    ngx_str_t *name, ngx_str_t *value);
static ngx_int_t ngx_http_waystation_add_field(ngx_http_request_t *r, ngx_str_t *name,
    ngx_str_t *value);
static ngx_int_t ngx_http_waystation_unavailable(ngx_http_waystation_ctx_t *ctx, ngx_int_t status,
    const char *code);
static void ngx_http_waystation_finalize(ngx_http_waystation_ctx_t *ctx, ngx_int_t rc);

static u_char *ngx_http_waystation_put16(u_char *p, ngx_uint_t n);
static ngx_uint_t ngx_http_waystation_get16(u_char *p);
static u_char *ngx_http_waystation_take(ngx_http_waystation_reader_t *reader, size_t n);
static ngx_int_t ngx_http_waystation_is_line(ngx_str_t *text);


#define ngx_http_waystation_set(text, literal)                                                     \
    (text)->len = ngx_strlen(literal); (text)->data = (u_char *) (literal)


ngx_int_t
ngx_http_waystation_ask(ngx_http_waystation_ctx_t *ctx)
{
    size_t               size;
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = ctx->request;

    rc = ngx_http_waystation_write_ask(ctx, &size);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_waystation_connect(ctx, size);
    if (rc != NGX_OK) {
        return rc;
    }

    if (!r->discard_body) {
        r->read_event_handler = ngx_http_test_reading;
    }

    r->write_event_handler = ngx_http_request_empty_handler;
    r->main->count++;

    return NGX_DONE;
}


/* Connects to the door, sends the ASK in the worker's buffer, and waits for the answer. */

static ngx_int_t
ngx_http_waystation_connect(ngx_http_waystation_ctx_t *ctx, size_t size)
{
    ssize_t                          n;
    ngx_err_t                        err;
    ngx_log_t                       *log;
    ngx_socket_t                     s;
    ngx_connection_t                *door;
    ngx_http_waystation_loc_conf_t  *wlcf;

    log = ctx->request->connection->log;
    wlcf = ngx_http_get_module_loc_conf(ctx->request, ngx_http_waystation_module);

    s = ngx_socket(AF_UNIX, SOCK_SEQPACKET|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ERR, log, ngx_socket_errno, "waystation_pass: " ngx_socket_n " failed");
        return ngx_http_waystation_unavailable(ctx, NGX_HTTP_SERVICE_UNAVAILABLE, "no_descriptor");
    }

    /* A unix socket connects at once or not at all. */

    if (connect(s, wlcf->sockaddr, wlcf->socklen) == -1) {
        err = ngx_socket_errno;
        ngx_log_error(NGX_LOG_ERR, log, err, "waystation_pass: connect() to %V failed", &wlcf->name);
        ngx_close_socket(s);

        return ngx_http_waystation_unavailable(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                               err == NGX_EAGAIN ? "busy" : "no_relay");
    }

    n = send(s, ngx_http_waystation_buffer, size, MSG_NOSIGNAL);

    if (n == -1) {
        err = ngx_socket_errno;
        ngx_log_error(NGX_LOG_ERR, log, err, "waystation_pass: send() to %V failed", &wlcf->name);
        ngx_close_socket(s);

        if (err == EMSGSIZE) {
            ngx_http_waystation_set(&ctx->result, "refused");
            ngx_http_waystation_set(&ctx->code, "too_many_fields");
            return NGX_HTTP_WAYSTATION_HEADER_FIELDS_TOO_LARGE;
        }

        return ngx_http_waystation_unavailable(ctx, NGX_HTTP_SERVICE_UNAVAILABLE, "busy");
    }

    door = ngx_get_connection(s, log);
    if (door == NULL) {
        ngx_close_socket(s);
        return ngx_http_waystation_unavailable(ctx, NGX_HTTP_SERVICE_UNAVAILABLE, "no_connection");
    }

    ctx->door = door;

    door->data = ctx;
    door->pool = NULL;
    door->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    door->read->log = log;
    door->write->log = log;
    door->read->handler = ngx_http_waystation_answer_handler;
    door->write->handler = ngx_http_empty_handler;

    if (ngx_handle_read_event(door->read, 0) != NGX_OK) {
        ngx_http_waystation_close_door(ctx);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_add_timer(door->read, wlcf->timeout);

    return NGX_OK;
}


/* Writes ASK into the worker's buffer. Returns NGX_OK or a status for the client. */

static ngx_int_t
ngx_http_waystation_write_ask(ngx_http_waystation_ctx_t *ctx, size_t *size)
{
    size_t                           len;
    u_char                          *p, *fields;
    ngx_str_t                        address, user, scopes, name, value;
    ngx_uint_t                       i, n, flags, client_port, server_port;
    ngx_list_part_t                 *part;
    ngx_table_elt_t                 *header;
    ngx_connection_t                *c;
    ngx_http_request_t              *r;
    ngx_http_waystation_loc_conf_t  *wlcf;

    r = ctx->request;
    c = r->connection;
    wlcf = ngx_http_get_module_loc_conf(r, ngx_http_waystation_module);

    flags = 0;

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        flags |= NGX_HTTP_WAYSTATION_ASK_TLS;
    }
#endif

    ngx_str_null(&user);
    ngx_str_null(&scopes);

    if (wlcf->user && ngx_http_complex_value(r, wlcf->user, &user) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (user.len) {
        flags |= NGX_HTTP_WAYSTATION_ASK_USER;

        if (wlcf->scopes && ngx_http_complex_value(r, wlcf->scopes, &scopes) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    if (user.len > NGX_HTTP_WAYSTATION_MAX_USER || scopes.len > NGX_HTTP_WAYSTATION_MAX_SCOPES
        || !ngx_http_waystation_is_line(&user) || !ngx_http_waystation_is_line(&scopes))
    {
        ngx_log_error(NGX_LOG_ERR, c->log, 0,
                      "waystation_user, waystation_scopes: the user has %uz bytes and the scopes have "
                      "%uz; allowed are %d and %d bytes, without line breaks",
                      user.len, scopes.len, NGX_HTTP_WAYSTATION_MAX_USER,
                      NGX_HTTP_WAYSTATION_MAX_SCOPES);
        ngx_http_waystation_set(&ctx->result, "refused");
        ngx_http_waystation_set(&ctx->code, "internal");
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_connection_local_sockaddr(c, NULL, 0) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* A client on a unix socket has no address. */

    ngx_str_null(&address);
    client_port = 0;
    server_port = 0;

    if (c->sockaddr->sa_family != AF_UNIX) {
        address = c->addr_text;
        client_port = ngx_inet_get_port(c->sockaddr);
    }

    if (c->local_sockaddr->sa_family != AF_UNIX) {
        server_port = ngx_inet_get_port(c->local_sockaddr);
    }

    if (r->method_name.len > NGX_HTTP_WAYSTATION_MAX_METHOD) {
        ngx_http_waystation_set(&ctx->result, "refused");
        ngx_http_waystation_set(&ctx->code, "method_not_allowed");
        ngx_http_waystation_set(&name, "Allow");
        ngx_http_waystation_set(&value, "GET");

        if (ngx_http_waystation_add_field(r, &name, &value) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return NGX_HTTP_NOT_ALLOWED;
    }

    /* The header, and everything before the fields. */

    len = 24 + wlcf->key.len + address.len + r->method_name.len + r->unparsed_uri.len
          + user.len + scopes.len;

    if (len > NGX_HTTP_WAYSTATION_BUFFER_SIZE) {
        ngx_http_waystation_set(&ctx->result, "refused");
        ngx_http_waystation_set(&ctx->code, "too_large");
        return NGX_HTTP_REQUEST_URI_TOO_LARGE;
    }

    p = ngx_http_waystation_buffer;

    *p++ = NGX_HTTP_WAYSTATION_VERSION;
    *p++ = NGX_HTTP_WAYSTATION_ASK;
    p = ngx_http_waystation_put16(p, flags);
    *p++ = (u_char) (r->http_version / 1000);
    *p++ = (u_char) ngx_min(r->http_version % 1000, NGX_HTTP_WAYSTATION_MAX_MINOR);
    p = ngx_http_waystation_put16(p, client_port);
    p = ngx_http_waystation_put16(p, server_port);
    p = ngx_http_waystation_put16(p, wlcf->key.len);
    p = ngx_http_waystation_put16(p, address.len);
    p = ngx_http_waystation_put16(p, r->method_name.len);
    p = ngx_http_waystation_put16(p, r->unparsed_uri.len);
    p = ngx_http_waystation_put16(p, user.len);
    p = ngx_http_waystation_put16(p, scopes.len);
    fields = p;
    p += 2;
    p = ngx_cpymem(p, wlcf->key.data, wlcf->key.len);
    p = ngx_cpymem(p, address.data, address.len);
    p = ngx_cpymem(p, r->method_name.data, r->method_name.len);
    p = ngx_cpymem(p, r->unparsed_uri.data, r->unparsed_uri.len);
    p = ngx_cpymem(p, user.data, user.len);
    p = ngx_cpymem(p, scopes.data, scopes.len);

    /* The list has all fields in order, with repeats. nginx removes one by setting its hash to 0. */

    n = 0;
    part = &r->headers_in.headers.part;
    header = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            header = part->elts;
            i = 0;
        }

        if (header[i].hash == 0) {
            continue;
        }

        len += 4 + header[i].key.len + header[i].value.len;

        if (len > NGX_HTTP_WAYSTATION_BUFFER_SIZE || ++n > NGX_HTTP_WAYSTATION_MAX_FIELDS) {
            ngx_http_waystation_set(&ctx->result, "refused");
            ngx_http_waystation_set(&ctx->code, "too_many_fields");
            return NGX_HTTP_WAYSTATION_HEADER_FIELDS_TOO_LARGE;
        }

        p = ngx_http_waystation_put16(p, header[i].key.len);
        p = ngx_http_waystation_put16(p, header[i].value.len);
        p = ngx_cpymem(p, header[i].key.data, header[i].key.len);
        p = ngx_cpymem(p, header[i].value.data, header[i].value.len);
    }

    (void) ngx_http_waystation_put16(fields, n);

    *size = len;

    return NGX_OK;
}


static void
ngx_http_waystation_answer_handler(ngx_event_t *ev)
{
    ngx_connection_t           *door, *c;
    ngx_http_waystation_ctx_t  *ctx;

    door = ev->data;
    ctx = door->data;
    c = ctx->request->connection;

    ngx_http_set_log_request(c->log, ctx->request);

    ngx_http_waystation_answer(ctx);

    /* The request may be gone. A connection that has none any more is marked as destroyed. */

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_waystation_answer(ngx_http_waystation_ctx_t *ctx)
{
    u_char            *answer;
    ssize_t            n;
    ngx_err_t          err;
    ngx_log_t         *log;
    ngx_connection_t  *door;

    door = ctx->door;
    log = ctx->request->connection->log;

    if (door->read->timedout) {
        ngx_log_error(NGX_LOG_ERR, log, NGX_ETIMEDOUT, "waystation_pass: the relay did not answer in time");
        ngx_http_waystation_finalize(ctx,
            ngx_http_waystation_unavailable(ctx, NGX_HTTP_GATEWAY_TIME_OUT, "timeout"));
        return;
    }

    answer = ngx_http_waystation_buffer;

    do {
        n = recv(door->fd, answer, NGX_HTTP_WAYSTATION_BUFFER_SIZE, 0);
        err = (n == -1) ? ngx_socket_errno : 0;
    } while (err == NGX_EINTR);

    if (err == NGX_EAGAIN) {
        door->read->ready = 0;

        if (ngx_handle_read_event(door->read, 0) != NGX_OK) {
            ngx_http_waystation_finalize(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR);
        }

        return;
    }

    if (n <= 0) {
        ngx_log_error(NGX_LOG_ERR, log, err,
                      "waystation_pass: the relay ended the connection before its answer");
        ngx_http_waystation_finalize(ctx,
            ngx_http_waystation_unavailable(ctx, NGX_HTTP_BAD_GATEWAY, "no_answer"));
        return;
    }

    if (n >= 4 && answer[0] == NGX_HTTP_WAYSTATION_VERSION) {

        if (answer[1] == NGX_HTTP_WAYSTATION_GIVE && n == 4) {
            ngx_http_waystation_give(ctx);
            return;
        }

        if (answer[1] == NGX_HTTP_WAYSTATION_REFUSE) {
            ngx_http_waystation_refuse(ctx, answer, n);
            return;
        }
    }

    ngx_log_error(NGX_LOG_ERR, log, 0,
                  "waystation_pass: the relay's answer of %z bytes is not GIVE or REFUSE of version 1; "
                  "install a module and a relay that fit each other", n);
    ngx_http_waystation_finalize(ctx,
        ngx_http_waystation_unavailable(ctx, NGX_HTTP_BAD_GATEWAY, "bad_answer"));
}


/* The relay takes the client. */

static void
ngx_http_waystation_give(ngx_http_waystation_ctx_t *ctx)
{
    ngx_int_t                        rc;
    ngx_uint_t                       pumped;
    ngx_socket_t                     given, dead;
    ngx_connection_t                *c;
    ngx_http_request_t              *r;
    ngx_http_waystation_pump_t      *pump;
    ngx_http_waystation_loc_conf_t  *wlcf;

    r = ctx->request;
    c = r->connection;
    wlcf = ngx_http_get_module_loc_conf(r, ngx_http_waystation_module);

    if (r->http_version != NGX_HTTP_VERSION_11 || ctx->has_body
        || r->header_in->last - r->header_in->pos > NGX_HTTP_WAYSTATION_MAX_EARLY)
    {
        /* The relay checks all this itself, except what it cannot see: the body. */

        ngx_http_waystation_set(&ctx->result, "refused");
        ngx_http_waystation_set(&ctx->code, "bad_handshake");
        ngx_http_waystation_finalize(ctx, r->http_version != NGX_HTTP_VERSION_11
                                              ? NGX_HTTP_WAYSTATION_UPGRADE_REQUIRED
                                              : NGX_HTTP_BAD_REQUEST);
        return;
    }

    pumped = !wlcf->handover;
    pump = NULL;
    dead = (ngx_socket_t) -1;

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        pumped = 1;
    }
#endif

    if (ngx_http_waystation_push(c) != NGX_OK) {
        rc = NGX_ERROR;

    } else if (pumped) {
        pump = ngx_http_waystation_pump_create(c, &given);
        rc = pump ? NGX_OK : NGX_ERROR;

    } else {
        given = c->fd;
        rc = ngx_http_waystation_detach(c, &dead);
    }

    if (rc != NGX_OK) {
        ngx_http_waystation_finalize(ctx,
            ngx_http_waystation_unavailable(ctx, NGX_HTTP_SERVICE_UNAVAILABLE, "no_connection"));
        return;
    }

    rc = ngx_http_waystation_send_here(ctx, given, pumped ? NGX_HTTP_WAYSTATION_HERE_PUMPED : 0);

    if (pumped) {
        ngx_close_socket(given);
    }

    if (rc != NGX_OK) {
        if (pumped) {
            ngx_http_waystation_pump_cancel(pump);
        }

        ngx_http_waystation_finalize(ctx,
            ngx_http_waystation_unavailable(ctx, NGX_HTTP_GATEWAY_TIME_OUT, "too_late"));
        return;
    }

    ngx_http_waystation_close_door(ctx);

    ngx_http_waystation_set(&ctx->result, pumped ? "pumped" : "handed");

    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;
    r->keepalive = 0;
    r->header_in->pos = r->header_in->last;

    if (pumped) {
        ngx_http_waystation_pump_start(pump, r);
        return;
    }

    /*
     * The relay's copy refers to the same open socket. Whatever nginx may do now to its own descriptor,
     * such as shutdown() or SO_LINGER, happens to a dead socket.
     */

    if (dup3(dead, c->fd, O_CLOEXEC) == -1) {
        ngx_log_error(NGX_LOG_ALERT, c->log, ngx_errno, "waystation_pass: dup3() failed");
    }

    /* NGX_ERROR ends the request without a lingering close. The log shows the status above. */

    ngx_http_finalize_request(r, NGX_ERROR);
}


/* Ends tcp_nopush, which a response before a pipelined request leaves behind. */

static ngx_int_t
ngx_http_waystation_push(ngx_connection_t *c)
{
    if (c->tcp_nopush != NGX_TCP_NOPUSH_SET) {
        return NGX_OK;
    }

    if (ngx_tcp_push(c->fd) == -1) {
        ngx_connection_error(c, ngx_socket_errno, ngx_tcp_push_n " failed");
        return NGX_ERROR;
    }

    c->tcp_nopush = NGX_TCP_NOPUSH_UNSET;

    return NGX_OK;
}


/*
 * Prepares a client's connection for leaving nginx. The connection stays usable: nginx watches it
 * again when it next waits for it.
 */

static ngx_int_t
ngx_http_waystation_detach(ngx_connection_t *c, ngx_socket_t *dead)
{
    static ngx_socket_t  ngx_http_waystation_dead = (ngx_socket_t) -1;

    if (ngx_http_waystation_dead == (ngx_socket_t) -1) {
        ngx_http_waystation_dead = ngx_socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0);

        if (ngx_http_waystation_dead == (ngx_socket_t) -1) {
            ngx_log_error(NGX_LOG_ERR, c->log, ngx_socket_errno,
                          "waystation_pass: " ngx_socket_n " failed");
            return NGX_ERROR;
        }
    }

    *dead = ngx_http_waystation_dead;

    /*
     * The registration belongs to the open socket, which outlives nginx's descriptor. Closing that
     * would leave it behind, and events of this client would reach the next user of the structure.
     */

    if (ngx_del_conn && (c->read->active || c->write->active)) {
        return ngx_del_conn(c, 0);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_waystation_send_here(ngx_http_waystation_ctx_t *ctx, ngx_socket_t given, ngx_uint_t flags)
{
    size_t           early;
    u_char           header[8], *p;
    ssize_t          n;
    ngx_err_t        err;
    ngx_buf_t       *b;
    struct iovec     iov[2];
    struct msghdr    msg;
    struct cmsghdr  *cmsg;

    union {
        struct cmsghdr  cmsg;
        u_char          space[CMSG_SPACE(sizeof(int))];
    } control;

    b = ctx->request->header_in;
    early = b->last - b->pos;

    p = header;
    *p++ = NGX_HTTP_WAYSTATION_VERSION;
    *p++ = NGX_HTTP_WAYSTATION_HERE;
    p = ngx_http_waystation_put16(p, flags);
    p = ngx_http_waystation_put16(p, 0);
    (void) ngx_http_waystation_put16(p, early);

    iov[0].iov_base = header;
    iov[0].iov_len = sizeof(header);
    iov[1].iov_base = b->pos;
    iov[1].iov_len = early;

    ngx_memzero(&msg, sizeof(struct msghdr));
    ngx_memzero(&control, sizeof(control));
    msg.msg_iov = iov;
    msg.msg_iovlen = early ? 2 : 1;
    msg.msg_control = &control;
    msg.msg_controllen = sizeof(control.space);

    cmsg = CMSG_FIRSTHDR(&msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    ngx_memcpy(CMSG_DATA(cmsg), &given, sizeof(int));

    /* The relay has read ASK, so the socket's buffer is empty: there is no EAGAIN to wait for. */

    do {
        n = sendmsg(ctx->door->fd, &msg, MSG_NOSIGNAL);
        err = (n == -1) ? ngx_socket_errno : 0;
    } while (err == NGX_EINTR);

    if (n == -1) {
        ngx_log_error(NGX_LOG_ERR, ctx->request->connection->log, err,
                      "waystation_pass: sendmsg() of the connection failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* The relay refuses the client: REFUSE holds the response. */

static void
ngx_http_waystation_refuse(ngx_http_waystation_ctx_t *ctx, u_char *message, size_t size)
{
    size_t                         body_len;
    u_char                        *p;
    ngx_buf_t                     *b;
    ngx_int_t                      rc;
    ngx_str_t                      name, value;
    ngx_uint_t                     i, status, code_len, fields;
    ngx_chain_t                    out;
    ngx_http_request_t            *r;
    ngx_http_waystation_reader_t   reader, begin;

    r = ctx->request;
    reader.pos = message;
    reader.end = message + size;

    p = ngx_http_waystation_take(&reader, 12);
    if (p == NULL) {
        goto malformed;
    }

    status = ngx_http_waystation_get16(p + 2);
    code_len = ngx_http_waystation_get16(p + 4);
    fields = ngx_http_waystation_get16(p + 6);
    body_len = ngx_http_waystation_get16(p + 8) << 16 | ngx_http_waystation_get16(p + 10);

    p = ngx_http_waystation_take(&reader, code_len);
    if (p == NULL || status < 200 || status > 599) {
        goto malformed;
    }

    /* The response outlives the worker's buffer, so it is copied. */

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        ngx_http_waystation_finalize(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_memcpy(p, message, size);
    reader.pos = p + (reader.pos - message);
    reader.end = p + size;

    ctx->code.len = code_len;
    ctx->code.data = reader.pos - code_len;
    ngx_http_waystation_set(&ctx->result, "refused");

    /* The whole message is checked before any of it becomes part of the response. */

    begin = reader;

    for (i = 0; i < fields; i++) {
        if (ngx_http_waystation_take_field(&reader, &name, &value) != NGX_OK) {
            goto malformed;
        }
    }

    if (body_len != (size_t) (reader.end - reader.pos)) {
        goto malformed;
    }

    for (i = 0; i < fields; i++) {
        if (ngx_http_waystation_take_field(&begin, &name, &value) != NGX_OK
            || ngx_http_waystation_add_field(r, &name, &value) != NGX_OK)
        {
            ngx_http_waystation_finalize(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR);
            return;
        }
    }

    if (ctx->code.len == sizeof("bad_handover") - 1
        && ngx_strncmp(ctx->code.data, "bad_handover", ctx->code.len) == 0)
    {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "waystation_pass: the relay refuses nginx; its log says why, such as a wrong "
                      "waystation_key_file");
    }

    ngx_http_waystation_close_door(ctx);

    r->headers_out.status = status;
    r->headers_out.content_length_n = body_len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    b->pos = reader.pos;
    b->last = reader.end;
    b->memory = body_len ? 1 : 0;
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    ngx_http_finalize_request(r, ngx_http_output_filter(r, &out));
    return;

malformed:

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "waystation_pass: the relay's REFUSE of %uz bytes is malformed", size);

    ngx_http_waystation_finalize(ctx,
        ngx_http_waystation_unavailable(ctx, NGX_HTTP_BAD_GATEWAY, "bad_answer"));
}


/* Takes a header field of REFUSE. Returns NGX_ERROR if it is malformed. */

static ngx_int_t
ngx_http_waystation_take_field(ngx_http_waystation_reader_t *reader, ngx_str_t *name,
    ngx_str_t *value)
{
    u_char  *p;

    p = ngx_http_waystation_take(reader, 4);
    if (p == NULL) {
        return NGX_ERROR;
    }

    name->len = ngx_http_waystation_get16(p);
    value->len = ngx_http_waystation_get16(p + 2);
    name->data = ngx_http_waystation_take(reader, name->len);
    value->data = ngx_http_waystation_take(reader, value->len);

    if (name->len == 0 || name->data == NULL || value->data == NULL
        || !ngx_http_waystation_is_line(name) || !ngx_http_waystation_is_line(value))
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* Adds a field to the response, except those that nginx writes itself. */

static ngx_int_t
ngx_http_waystation_add_field(ngx_http_request_t *r, ngx_str_t *name, ngx_str_t *value)
{
    ngx_uint_t         i;
    ngx_table_elt_t   *h;

    static ngx_str_t   own[] = {
        ngx_string("Connection"),
        ngx_string("Content-Length"),
        ngx_string("Date"),
        ngx_string("Keep-Alive"),
        ngx_string("Server"),
        ngx_string("Transfer-Encoding"),
        ngx_null_string
    };

    for (i = 0; own[i].len; i++) {
        if (name->len == own[i].len && ngx_strncasecmp(name->data, own[i].data, name->len) == 0) {
            return NGX_OK;
        }
    }

    if (name->len == sizeof("Content-Type") - 1
        && ngx_strncasecmp(name->data, (u_char *) "Content-Type", name->len) == 0)
    {
        r->headers_out.content_type = *value;
        r->headers_out.content_type_len = value->len;
        return NGX_OK;
    }

    if (name->len == sizeof("Upgrade") - 1
        && ngx_strncasecmp(name->data, (u_char *) "Upgrade", name->len) == 0)
    {
        static ngx_str_t  connection = ngx_string("Connection");

        /* It concerns this connection only. HTTP/2 has no such fields. */

        if (r->http_version != NGX_HTTP_VERSION_11) {
            return NGX_OK;
        }

        h = ngx_list_push(&r->headers_out.headers);
        if (h == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(h, sizeof(ngx_table_elt_t));
        h->hash = 1;
        h->key = connection;
        h->value = *name;
    }

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));
    h->hash = 1;
    h->key = *name;
    h->value = *value;

    return NGX_OK;
}


/*
 * Notes that the relay cannot take the client for now, and returns the status for the client. A 503
 * gets a Retry-After, unless an error_page replaces the response.
 */

static ngx_int_t
ngx_http_waystation_unavailable(ngx_http_waystation_ctx_t *ctx, ngx_int_t status, const char *code)
{
    ngx_str_t                        name, value;
    ngx_uint_t                       i;
    ngx_http_request_t              *r;
    ngx_http_err_page_t             *page;
    ngx_http_core_loc_conf_t        *clcf;
    ngx_http_waystation_loc_conf_t  *wlcf;

    r = ctx->request;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    wlcf = ngx_http_get_module_loc_conf(r, ngx_http_waystation_module);

    ngx_http_waystation_set(&ctx->result, "unavailable");
    ngx_http_waystation_set(&ctx->code, code);

    if (status != NGX_HTTP_SERVICE_UNAVAILABLE) {
        return status;
    }

    if (clcf->error_pages) {
        page = clcf->error_pages->elts;

        for (i = 0; i < clcf->error_pages->nelts; i++) {
            if (page[i].status == status) {
                return status;
            }
        }
    }

    value.data = ngx_pnalloc(r->pool, NGX_TIME_T_LEN);
    if (value.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%T", wlcf->retry_after) - value.data;
    ngx_http_waystation_set(&name, "Retry-After");

    if (ngx_http_waystation_add_field(r, &name, &value) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return status;
}


static void
ngx_http_waystation_finalize(ngx_http_waystation_ctx_t *ctx, ngx_int_t rc)
{
    ngx_http_waystation_close_door(ctx);
    ngx_http_finalize_request(ctx->request, rc);
}


void
ngx_http_waystation_close_door(ngx_http_waystation_ctx_t *ctx)
{
    if (ctx->door) {
        ngx_close_connection(ctx->door);
        ctx->door = NULL;
    }
}


static u_char *
ngx_http_waystation_put16(u_char *p, ngx_uint_t n)
{
    *p++ = (u_char) (n >> 8);
    *p++ = (u_char) n;

    return p;
}


static ngx_uint_t
ngx_http_waystation_get16(u_char *p)
{
    return (ngx_uint_t) p[0] << 8 | p[1];
}


/* Returns the next `n` bytes, or NULL if there are fewer. */

static u_char *
ngx_http_waystation_take(ngx_http_waystation_reader_t *reader, size_t n)
{
    u_char  *p;

    if (n > (size_t) (reader->end - reader->pos)) {
        return NULL;
    }

    p = reader->pos;
    reader->pos += n;

    return p;
}


static ngx_int_t
ngx_http_waystation_is_line(ngx_str_t *text)
{
    size_t  i;

    for (i = 0; i < text->len; i++) {
        if (text->data[i] == LF || text->data[i] == CR || text->data[i] == '\0') {
            return 0;
        }
    }

    return 1;
}
