
/*
 * ngx_http_waystation_module: gives WebSocket connections to a running Waystation relay.
 *
 *   ngx_http_waystation_module.c    directives, variables, the content handler
 *   ngx_http_waystation_handover.c  the exchange with the relay (module/HANDOVER.md)
 *   ngx_http_waystation_pump.c      copies bytes for connections whose TLS ends in nginx
 */


#ifndef _NGX_HTTP_WAYSTATION_MODULE_H_INCLUDED_
#define _NGX_HTTP_WAYSTATION_MODULE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>


/*
 * With NGX_COMPAT, nginx may speak TLS although this module is compiled without it. The module must know
 * such connections.
 */

#if (NGX_COMPAT && !NGX_HTTP_SSL)
#error "configure nginx with --with-http_ssl_module to build this module"
#endif


/* The largest message of the exchange, and more than the largest TLS record. */
#define NGX_HTTP_WAYSTATION_BUFFER_SIZE  65536

#define NGX_HTTP_WAYSTATION_KEY_MIN      16
#define NGX_HTTP_WAYSTATION_KEY_MAX      256


typedef struct {
    struct sockaddr           *sockaddr;    /* of waystation_pass; NULL: not set */
    socklen_t                  socklen;
    ngx_str_t                  name;        /* of waystation_pass, for the log */
    ngx_msec_t                 timeout;
    time_t                     retry_after;
    ngx_flag_t                 handover;
    ngx_http_complex_value_t  *user;        /* NULL: nginx names no user */
    ngx_http_complex_value_t  *scopes;
    ngx_str_t                  key_file;
    ngx_str_t                  key;
} ngx_http_waystation_loc_conf_t;


/* One exchange with the relay. Lives as long as the request. */

typedef struct {
    ngx_http_request_t        *request;
    ngx_connection_t          *door;        /* NULL: none, or not any more */
    ngx_str_t                  result;      /* $waystation_result */
    ngx_str_t                  code;        /* $waystation_code */
    unsigned                   has_body:1;
} ngx_http_waystation_ctx_t;


/*
 * Asks the relay about this request. Returns NGX_DONE, and finalizes the request later; or a status
 * for the client if the relay cannot be asked.
 */
ngx_int_t ngx_http_waystation_ask(ngx_http_waystation_ctx_t *ctx);

/* Ends the exchange, if it has not ended. */
void ngx_http_waystation_close_door(ngx_http_waystation_ctx_t *ctx);


/* A pump: the client's connection, one end of a socket pair, and what is on its way. */

typedef struct ngx_http_waystation_pump_s  ngx_http_waystation_pump_t;

/*
 * Prepares a pump for a client's connection, and stores in *given the end of the socket pair that
 * belongs to the relay. Returns NULL if nginx has no connection, descriptor or memory left. Nothing
 * is copied before ngx_http_waystation_pump_start().
 */
ngx_http_waystation_pump_t *ngx_http_waystation_pump_create(ngx_connection_t *c,
    ngx_socket_t *given);

/* Frees a pump that was not started. The client's connection stays open. */
void ngx_http_waystation_pump_cancel(ngx_http_waystation_pump_t *pump);

/*
 * Frees the request, and copies bytes until both sides have ended. The client's connection belongs to
 * the pump from here on.
 */
void ngx_http_waystation_pump_start(ngx_http_waystation_pump_t *pump, ngx_http_request_t *r);


/*
 * Each worker has one buffer, for messages and for bytes in passing. Nothing in it outlives the call
 * of an event handler.
 */
extern u_char  ngx_http_waystation_buffer[NGX_HTTP_WAYSTATION_BUFFER_SIZE];

extern ngx_module_t  ngx_http_waystation_module;


#endif /* _NGX_HTTP_WAYSTATION_MODULE_H_INCLUDED_ */
