
/* Directives, variables, and the content handler. */


#include "ngx_http_waystation_module.h"


static ngx_int_t ngx_http_waystation_handler(ngx_http_request_t *r);
static ngx_http_waystation_ctx_t *ngx_http_waystation_get_ctx(ngx_http_request_t *r);
static void ngx_http_waystation_cleanup(void *data);

static ngx_int_t ngx_http_waystation_add_variables(ngx_conf_t *cf);
static ngx_int_t ngx_http_waystation_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);

static void *ngx_http_waystation_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_waystation_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child);
static char *ngx_http_waystation_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_http_waystation_key_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_http_waystation_read_key(ngx_conf_t *cf, ngx_fd_t fd,
    ngx_http_waystation_loc_conf_t *wlcf);


#define NGX_HTTP_WAYSTATION_ANYWHERE                                                               \
    NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1


static ngx_command_t  ngx_http_waystation_commands[] = {

    { ngx_string("waystation_pass"),
      NGX_HTTP_LOC_CONF|NGX_HTTP_LIF_CONF|NGX_HTTP_LMT_CONF|NGX_CONF_TAKE1,
      ngx_http_waystation_pass,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("waystation_timeout"),
      NGX_HTTP_WAYSTATION_ANYWHERE,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_waystation_loc_conf_t, timeout),
      NULL },

    { ngx_string("waystation_retry_after"),
      NGX_HTTP_WAYSTATION_ANYWHERE,
      ngx_conf_set_sec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_waystation_loc_conf_t, retry_after),
      NULL },

    { ngx_string("waystation_handover"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_waystation_loc_conf_t, handover),
      NULL },

    { ngx_string("waystation_user"),
      NGX_HTTP_WAYSTATION_ANYWHERE,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_waystation_loc_conf_t, user),
      NULL },

    { ngx_string("waystation_scopes"),
      NGX_HTTP_WAYSTATION_ANYWHERE,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_waystation_loc_conf_t, scopes),
      NULL },

    { ngx_string("waystation_key_file"),
      NGX_HTTP_WAYSTATION_ANYWHERE,
      ngx_http_waystation_key_file,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_waystation_module_ctx = {
    ngx_http_waystation_add_variables,     /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_waystation_create_loc_conf,   /* create location configuration */
    ngx_http_waystation_merge_loc_conf     /* merge location configuration */
};


ngx_module_t  ngx_http_waystation_module = {
    NGX_MODULE_V1,
    &ngx_http_waystation_module_ctx,       /* module context */
    ngx_http_waystation_commands,          /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/* `data` is the offset of the text in the context. */

static ngx_http_variable_t  ngx_http_waystation_vars[] = {

    { ngx_string("waystation_result"), NULL, ngx_http_waystation_variable,
      offsetof(ngx_http_waystation_ctx_t, result), NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("waystation_code"), NULL, ngx_http_waystation_variable,
      offsetof(ngx_http_waystation_ctx_t, code), NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


u_char  ngx_http_waystation_buffer[NGX_HTTP_WAYSTATION_BUFFER_SIZE];


static ngx_int_t
ngx_http_waystation_handler(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    ngx_pool_cleanup_t         *cln;
    ngx_http_waystation_ctx_t  *ctx;

    if (r != r->main) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "waystation_pass: a subrequest has no connection that could be handed over; "
                      "use proxy_pass in locations for subrequests");
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* The context is also found by its cleanup, after an internal redirect has cleared it. */

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_waystation_ctx_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_http_waystation_ctx_t));
    ctx->request = r;
    ctx->has_body = r->headers_in.content_length_n > 0 || r->headers_in.chunked;

    cln->handler = ngx_http_waystation_cleanup;

    ngx_http_set_ctx(r, ctx, ngx_http_waystation_module);

    /* No socket route takes a body. Afterwards the client may send its next request. */

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_waystation_ask(ctx);
}


static ngx_http_waystation_ctx_t *
ngx_http_waystation_get_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t         *cln;
    ngx_http_waystation_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_waystation_module);

    if (ctx == NULL && (r->internal || r->filter_finalize)) {
        for (cln = r->pool->cleanup; cln; cln = cln->next) {
            if (cln->handler == ngx_http_waystation_cleanup) {
                return cln->data;
            }
        }
    }

    return ctx;
}


static void
ngx_http_waystation_cleanup(void *data)
{
    ngx_http_waystation_close_door(data);
}


static ngx_int_t
ngx_http_waystation_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_waystation_vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_waystation_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                  *text;
    ngx_http_waystation_ctx_t  *ctx;

    ctx = ngx_http_waystation_get_ctx(r);
    text = ctx ? (ngx_str_t *) ((char *) ctx + data) : NULL;

    if (text == NULL || text->len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->len = text->len;
    v->data = text->data;

    return NGX_OK;
}


static void *
ngx_http_waystation_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_waystation_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_waystation_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->timeout = NGX_CONF_UNSET_MSEC;
    conf->retry_after = NGX_CONF_UNSET;
    conf->handover = NGX_CONF_UNSET;
    conf->user = NGX_CONF_UNSET_PTR;
    conf->scopes = NGX_CONF_UNSET_PTR;

    return conf;
}


static char *
ngx_http_waystation_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_core_loc_conf_t        *clcf;
    ngx_http_waystation_loc_conf_t  *prev = parent;
    ngx_http_waystation_loc_conf_t  *conf = child;

    ngx_conf_merge_msec_value(conf->timeout, prev->timeout, 5000);
    ngx_conf_merge_sec_value(conf->retry_after, prev->retry_after, 5);
    ngx_conf_merge_value(conf->handover, prev->handover, 1);
    ngx_conf_merge_ptr_value(conf->user, prev->user, NULL);
    ngx_conf_merge_ptr_value(conf->scopes, prev->scopes, NULL);

    if (conf->key_file.data == NULL) {
        conf->key_file = prev->key_file;
        conf->key = prev->key;
    }

    /* "if" and "limit_except" without a handler of their own use that of their location. */

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if ((clcf->noname || clcf->lmt_excpt) && clcf->handler == NULL && prev->sockaddr) {
        conf->sockaddr = prev->sockaddr;
        conf->socklen = prev->socklen;
        conf->name = prev->name;
        clcf->handler = ngx_http_waystation_handler;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_waystation_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_waystation_loc_conf_t  *wlcf = conf;

    ngx_url_t                  u;
    ngx_str_t                 *value;
    ngx_http_core_loc_conf_t  *clcf;

    if (wlcf->sockaddr) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len < 7 || ngx_strncmp(value[1].data, "unix:/", 6) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "waystation_pass: \"%V\" is not a unix socket; allowed is unix:/PATH, "
                           "such as unix:/run/waystation/handover.sock", &value[1]);
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&u, sizeof(ngx_url_t));
    u.url = value[1];
    u.no_resolve = 1;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "waystation_pass: \"%V\": %s",
                           &value[1], u.err ? u.err : "not enough memory");
        return NGX_CONF_ERROR;
    }

    wlcf->sockaddr = u.addrs[0].sockaddr;
    wlcf->socklen = u.addrs[0].socklen;
    wlcf->name = value[1];

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_waystation_handler;

    return NGX_CONF_OK;
}


static char *
ngx_http_waystation_key_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_waystation_loc_conf_t  *wlcf = conf;

    char       *rv;
    ngx_fd_t    fd;
    ngx_str_t  *value;

    if (wlcf->key_file.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    wlcf->key_file = value[1];

    if (ngx_conf_full_name(cf->cycle, &wlcf->key_file, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    fd = ngx_open_file(wlcf->key_file.data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK, NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "waystation_key_file: " ngx_open_file_n " \"%V\" failed",
                           &wlcf->key_file);
        return NGX_CONF_ERROR;
    }

    rv = ngx_http_waystation_read_key(cf, fd, wlcf);

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno, ngx_close_file_n " \"%V\" failed",
                           &wlcf->key_file);
    }

    return rv;
}


static char *
ngx_http_waystation_read_key(ngx_conf_t *cf, ngx_fd_t fd, ngx_http_waystation_loc_conf_t *wlcf)
{
    size_t           len;
    ssize_t          n;
    ngx_file_info_t  fi;
    u_char           text[NGX_HTTP_WAYSTATION_KEY_MAX + 3];

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno, ngx_fd_info_n " \"%V\" failed",
                           &wlcf->key_file);
        return NGX_CONF_ERROR;
    }

    if (!ngx_is_file(&fi) || (fi.st_mode & S_IRWXO)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "waystation_key_file: \"%V\" is not a file, or others than its owner and "
                           "group may access it; use chmod o= on a file", &wlcf->key_file);
        return NGX_CONF_ERROR;
    }

    n = ngx_read_fd(fd, text, sizeof(text));
    if (n == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno, ngx_read_fd_n " \"%V\" failed",
                           &wlcf->key_file);
        return NGX_CONF_ERROR;
    }

    len = (size_t) n;

    if (len && text[len - 1] == LF) {
        len--;

        if (len && text[len - 1] == CR) {
            len--;
        }
    }

    if (len < NGX_HTTP_WAYSTATION_KEY_MIN || len > NGX_HTTP_WAYSTATION_KEY_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "waystation_key_file: the key in \"%V\" is too short or too long; a key has "
                           "%d to %d bytes", &wlcf->key_file, NGX_HTTP_WAYSTATION_KEY_MIN,
                           NGX_HTTP_WAYSTATION_KEY_MAX);
        return NGX_CONF_ERROR;
    }

    wlcf->key.data = ngx_pnalloc(cf->pool, len);
    if (wlcf->key.data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memcpy(wlcf->key.data, text, len);
    wlcf->key.len = len;
    ngx_explicit_memzero(text, sizeof(text));

    return NGX_CONF_OK;
}
