/* Waystation: a one-to-one chat and push relay over WebSocket that stores no conversation.
 *
 * This header is the whole public interface of libwaystation. It is plain C. The library knows no
 * web server, throws no exception and never ends the process. The glue for CivetWeb is
 * <waystation/civetweb.h>.
 *
 * A relay in four steps:
 *
 *     waystation_options options;
 *     waystation_relay *relay;
 *     waystation_error error = WAYSTATION_ERROR_INIT;
 *
 *     waystation_options_init(&options, sizeof options);             // 1. the defaults
 *     if (waystation_new(&options, &relay, &error) != WAYSTATION_OK) // 2. start
 *       fprintf(stderr, "%s\n", error.message);
 *     waystation_civetweb_attach(relay, ctx);                        // 3. serve both socket routes
 *     waystation_free(relay);                                        // 4. before or after mg_stop(ctx)
 *
 * Conventions
 *   - Strings are NUL-terminated UTF-8. The library copies its arguments before a function returns,
 *     unless the function's comment says otherwise. The comment also says who owns a result.
 *   - Every function may be called from any thread, and from the callbacks. The exceptions are
 *     waystation_free and the handle of an open audit; their comments say why.
 *   - A relay's handle is valid until waystation_free. No other thread may be inside a function that
 *     takes the handle at that time. Functions that take the relay's id may be called at any time.
 *   - A struct with a field `size` is versioned by it. New versions only add fields at the end. A
 *     field beyond the caller's `size` is neither read nor written, and an option there has its
 *     default. Zero such a struct and set `size`, or use the initializer or function that does both.
 *   - Times are milliseconds since 1970-01-01 UTC.
 */
#ifndef WAYSTATION_WAYSTATION_H
#define WAYSTATION_WAYSTATION_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define WAYSTATION_API __attribute__((visibility("default")))
#else
#define WAYSTATION_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- errors ------------------------------------------------------------------------------- */

typedef enum waystation_status {
  WAYSTATION_OK = 0,
  /* An argument, an option or a JSON text is not allowed. Nothing was done. */
  WAYSTATION_INVALID = 1,
  /* Memory, threads or descriptors ran out. Nothing was done; try again later. */
  WAYSTATION_EXHAUSTED = 2,
  /* The relay is being freed. Nothing was done. A relay that only drains does not return this: it
   * still answers. */
  WAYSTATION_STOPPED = 3,
  /* The relay did not answer within the deadline. It may still execute the request. */
  WAYSTATION_TIMEOUT = 4,
  /* An error in the library itself. The result is unknown. Please report it. */
  WAYSTATION_INTERNAL = 5,
  /* A file could not be read or written, or another process holds its lock. Nothing was done, or
   * only a part; try again later. From waystation_cluster_check: a server of `cluster` cannot be
   * used. From waystation_stream_use: `watch` failed. */
  WAYSTATION_FAILED = 6
} waystation_status;

/* A status in English; static storage, never NULL. */
WAYSTATION_API const char *waystation_status_text(waystation_status status);

/* Why a function failed. Functions that take one overwrite it in each call, also on success. Every
 * `error` parameter may be NULL. */
typedef struct waystation_error {
  size_t size;              /* sizeof(waystation_error), set by the caller; 0: nothing is written */
  waystation_status status; /* the same as the function's result */
  char option[48];          /* the option that is wrong, named as in the TOML file; "": none */
  char message[512];        /* one line without a line end, cut if longer; "" on success. About an
                               option: "<option> = <value>: <what is wrong>; <what is allowed>" */
} waystation_error;

/* waystation_error error = WAYSTATION_ERROR_INIT; */
#define WAYSTATION_ERROR_INIT                        \
  {                                                  \
    sizeof(waystation_error), WAYSTATION_OK, "", "" \
  }

/* The version of the library that is running, such as "0.1.0"; static storage. */
WAYSTATION_API const char *waystation_version(void);

/* ---- requests and responses ---------------------------------------------------------------- */

typedef struct waystation_header {
  const char *name;
  const char *value;
} waystation_header;

/* An HTTP request as the web server read it. All of its pointers stay the caller's and must be valid
 * until the function returns. */
typedef struct waystation_request {
  size_t size;            /* sizeof(waystation_request) */
  const char *method;     /* "GET" */
  const char *target;     /* path or absolute URI of the request line, not percent-decoded, with or
                             without the query */
  const char *query;      /* the part behind the '?', or NULL */
  const char *version;    /* "1.1" */
  const waystation_header *headers; /* every header field in order; repeated fields stay repeated */
  size_t header_count;
  const char *remote_address; /* the peer's address as text, such as "192.0.2.7" or "::1" */
  uint16_t remote_port;
  uint16_t local_port;
  int is_tls;             /* not 0: the web server itself speaks TLS on this connection */
  int descriptor;         /* the connection's socket, or -1: the library finds it by the addresses */
  const char *body;       /* for waystation_http: the body, or NULL */
  size_t body_size;       /* bytes at `body` */
  int body_truncated;     /* not 0: the client sent more than `body_size` */
  void *connection;       /* the web server's connection; the library only passes it to `identify` */
  /* For waystation_http, if `body` is NULL: reads the next bytes of the body into `buffer`, at least
   * one and at most `size`, and returns their number. Returns 0 if the client sent nothing for too
   * long, a negative number if the body ended early. The library calls it on the same thread, only
   * for callers with permission, never for more than the Content-Length, and for about ten seconds
   * at most. It should wait a few seconds at most. NULL: there is no body to read. */
  int (*read_body)(void *body_source, char *buffer, size_t size);
  void *body_source;
  /* For waystation_upgrade, if `is_tls`: the connection's TLS session, which the relay takes over with
   * the socket. NULL: there is none, and the request is refused with 501 tls_unsupported. */
  const struct waystation_stream *stream;
} waystation_request;

/* What the host application does with a request. */
typedef enum waystation_action {
  WAYSTATION_DECLINED = 0, /* not the relay's path, or nothing to check it: serve it yourself */
  WAYSTATION_REPLY = 1,    /* send `bytes` unchanged; the request is then served */
  WAYSTATION_ADOPTED = 2,  /* the relay owns the socket now: write nothing, end the request */
  WAYSTATION_ALLOWED = 3   /* waystation_origin_check only: serve the path yourself */
} waystation_action;

/* A response to send. Zero it and set `size` before use; clear it after use. */
typedef struct waystation_response {
  size_t size;   /* sizeof(waystation_response) */
  int action;    /* a waystation_action */
  int status;    /* the HTTP status of `bytes`; 101 if the socket was adopted */
  char *bytes;   /* status line, header fields and body, then a NUL; the library's until
                    waystation_response_clear */
  size_t length; /* of `bytes`, without the NUL */
} waystation_response;

/* Frees the memory of a response. Allowed on a zeroed response, and twice. */
WAYSTATION_API void waystation_response_clear(waystation_response *response);

/* ---- options ------------------------------------------------------------------------------- */

typedef struct waystation_relay waystation_relay;

/* How callers are identified. */
typedef enum waystation_auth {
  WAYSTATION_AUTH_OPEN = 0,    /* no authentication: `?user=` names the caller; loopback only, unless
                                  allow_open_network is set */
  WAYSTATION_AUTH_JWT = 1,     /* a signed token; see jwt_key_file */
  WAYSTATION_AUTH_HEADER = 2,  /* header fields set by a proxy in trusted_proxies */
  WAYSTATION_AUTH_CALLBACK = 3 /* the function `identify` */
} waystation_auth;

typedef enum waystation_log_level {
  WAYSTATION_LOG_ERROR = 0,
  WAYSTATION_LOG_WARNING = 1,
  WAYSTATION_LOG_INFO = 2,
  WAYSTATION_LOG_DEBUG = 3
} waystation_log_level;

/* A caller, as the host application's function `identify` describes them. Do not shorten a name that
 * does not fit: it would be another user's. Return 0 from `identify` instead. */
typedef struct waystation_identity {
  size_t size;         /* set by the library */
  char user[65];       /* [0-9a-z]{1,64} */
  char scopes[192];    /* separated by spaces: "push", "admin" */
  int64_t expires_at;  /* when the relay closes the user's sockets with 4401; 0: never */
} waystation_identity;

/* The outcome of a message that was not delivered in its group. */
typedef enum waystation_outcome {
  WAYSTATION_PUSHED = 1,      /* at least one push socket took it */
  WAYSTATION_UNDELIVERED = 2, /* no socket took it */
  WAYSTATION_DROPPED = 3,     /* queued for a socket that closed before its kernel had it */
  WAYSTATION_GAP = 4          /* in an audit only: rows are missing here */
} waystation_outcome;

/* One outcome. No field holds the content of the message. */
typedef struct waystation_event {
  size_t size;
  waystation_outcome outcome;
  int64_t at;
  const char *group;      /* NULL: the host application's own notification */
  const char *from;       /* NULL likewise */
  const char *to;
  const char *message_id; /* NULL: the client gave none */
  uint64_t reached;       /* sockets whose queue took it */
  uint64_t bytes;         /* length of the message's JSON */
} waystation_event;

/* The options of a relay. waystation_option_at describes each of them but the callbacks: default,
 * range, unit, help, and whether waystation_reconfigure changes it. The options of `waystation serve`
 * have the same names and are documented in waystation.toml(5). */
typedef struct waystation_options {
  size_t size; /* set by waystation_options_init */

  /* Identity. The entries of a list are separated by commas; NULL or "" is an empty list. */
  int auth;                       /* a waystation_auth */
  const char *jwt_key_file;
  const char *jwt_issuer;
  const char *jwt_audience;       /* a list */
  const char *identity_header;
  const char *scopes_header;
  const char *trusted_proxies;    /* a list of addresses and CIDR blocks */
  const char *allowed_origins;    /* a list, such as "https://chat.example" */
  const char *allowed_hosts;      /* a list */
  const char *operators;          /* a list of addresses and CIDR blocks */
  int allow_open_network;         /* 0 or 1 */
  int allow_query_token;          /* 0 or 1 */

  /* Limits. In the first four, 0 means no limit. */
  uint32_t max_connections;
  uint32_t max_connections_per_user;
  uint32_t max_connections_per_address;
  uint32_t messages_per_second;
  uint32_t message_burst;
  uint64_t max_message_bytes;
  uint64_t max_queue_bytes;       /* at least max_message_bytes + 1024 */
  uint64_t max_total_queue_bytes; /* at least max_queue_bytes */

  uint32_t busy_poll_microseconds;
  uint32_t ping_interval_seconds;

  /* Callbacks. Each gets `user_data`. They must not throw. */
  void *user_data;

  /* Identifies the caller of a request, with WAYSTATION_AUTH_CALLBACK. Called on the web server's
   * thread, for the socket routes and for the HTTP API; several threads may call it at once. For a
   * request that came through a door it is called on a thread of the library's, and `connection` is
   * NULL. Returns
   * 1 and fills in `identity`, or returns 0: the request is refused with 401 unauthenticated. */
  int (*identify)(void *user_data, const waystation_request *request,
                  waystation_identity *identity);

  /* Reports a push fallback, an undelivered message or a dropped delivery. Called on the library's
   * callback thread. The event's strings are valid until the function returns. Up to 8192 events
   * wait for a slow callback; further ones are counted in waystation_stats.events_lost. */
  void (*on_event)(void *user_data, const waystation_event *event);

  /* Receives a line of the log, without a line end; see log_level. NULL: no log. Called on the same
   * thread as on_event and never at the same time, a moment after the event that it reports. This
   * may be before waystation_new has returned, or when it fails. waystation_free delivers the
   * waiting lines. Up to 256 lines wait for a slow callback; further ones are counted in
   * waystation_stats.log_lines_lost. */
  void (*on_log)(void *user_data, waystation_log_level level, const char *line);

  /* The audit: a file of outcomes without content, see "the audit" below. on_event is called too. */
  const char *audit_file;         /* path; NULL or "": no audit */
  uint32_t audit_retention_days;  /* 0: rows are kept whatever their age */
  uint64_t audit_max_bytes;       /* 0: no limit */
  const char *node_name;          /* NULL or "": the host name */

  uint32_t descriptor_reserve;
  int log_level;                  /* a waystation_log_level: on_log gets lines up to this level */

  const char *handover_key_file;  /* path; NULL or "": no key: every program that can
                                     connect to the socket may hand over connections */
  int show_reachable;             /* 0 or 1 */

  /* Several nodes, see module/CLUSTER.md. NULL or "" in `cluster`: this relay is the only one. */
  const char *cluster;            /* a list of the engines, such as "redis://10.0.0.5:6379" */
  const char *cluster_name;       /* relays of one name are nodes of one relay */
  const char *cluster_key_file;   /* path: the keys that seal messages between nodes */
} waystation_options;

/* Fills in the defaults. `size` is the caller's sizeof(waystation_options). */
WAYSTATION_API void waystation_options_init(waystation_options *options, size_t size);

typedef enum waystation_option_type {
  WAYSTATION_OPTION_BOOLEAN = 0, /* an int, 0 or 1 */
  WAYSTATION_OPTION_NUMBER = 1,  /* a uint32_t or uint64_t; field_size says which */
  WAYSTATION_OPTION_CHOICE = 2,  /* an int, an index into `choices` */
  WAYSTATION_OPTION_TEXT = 3,    /* a const char * */
  WAYSTATION_OPTION_LIST = 4     /* a const char *, entries separated by commas */
} waystation_option_type;

/* One option. The strings are static storage and never NULL. */
typedef struct waystation_option_info {
  size_t size;              /* sizeof(waystation_option_info), set by the caller */
  const char *name;         /* of the field, the TOML key and the flag: "max_connections" */
  const char *group;        /* "identity", "limits", "audit", "cluster" or "operation" */
  const char *help;         /* what it does, in one or more sentences */
  const char *allowed;      /* the values that are allowed: "0 to 10000000" */
  const char *unit;         /* of a number: "bytes", "seconds", …; "": a count */
  int type;                 /* a waystation_option_type */
  int is_live;              /* 1: waystation_reconfigure changes it; 0: only waystation_new sets it */
  size_t field_offset;      /* offsetof(waystation_options, <the field>) */
  size_t field_size;        /* sizeof the field */
  uint64_t default_number;  /* of a boolean, a number and a choice */
  const char *default_text; /* of a text and a list; "" for the other types */
  uint64_t minimum;         /* of a number */
  uint64_t maximum;
  int zero_allowed;         /* 1: 0 is allowed as well, although it is less than the minimum */
  const char *const *choices; /* of a choice: its names, then NULL. NULL for the other types */
} waystation_option_info;

/* The number of options that waystation_option_at describes. */
WAYSTATION_API size_t waystation_option_count(void);

/* Describes an option; `index` is less than waystation_option_count(). The order is that of the
 * configuration file. Errors: WAYSTATION_INVALID (no such index, no `size`), WAYSTATION_EXHAUSTED. */
WAYSTATION_API waystation_status waystation_option_at(size_t index, waystation_option_info *info);

/* Checks options as waystation_new does, without starting a relay: ranges, lists, and options that
 * contradict each other. It reads jwt_key_file, and looks at audit_file without changing it.
 *
 * Errors: WAYSTATION_INVALID (`error` has the first mistake), WAYSTATION_EXHAUSTED. */
WAYSTATION_API waystation_status waystation_options_check(const waystation_options *options,
                                                          waystation_error *error);

/* The same for all mistakes at once: calls `visit` for each on the calling thread.
 *   - WAYSTATION_LOG_ERROR: waystation_new refuses this option.
 *   - WAYSTATION_LOG_WARNING: the option is allowed, but probably not what was meant.
 * `problem` is valid until `visit` returns. `visit` returns not 0 to continue.
 *
 * Errors: WAYSTATION_INVALID (there is a mistake, or an argument is NULL), WAYSTATION_EXHAUSTED.
 * Warnings alone are WAYSTATION_OK. */
WAYSTATION_API waystation_status waystation_options_check_all(
    const waystation_options *options,
    int (*visit)(void *user_data, waystation_log_level severity, const waystation_error *problem),
    void *user_data);

/* Tries the servers of `cluster` without starting a relay: connects, logs in, looks at their settings
 * and at the nodes that are connected there, for `deadline_ms` at most. Calls `visit` for each finding on the calling thread:
 *   - WAYSTATION_LOG_ERROR: the server cannot be used now, another node there has keys or a list
 *     `cluster` that do not fit, or an option is wrong. With a wrong option, no server is tried.
 *   - WAYSTATION_LOG_WARNING: a setting of the server should be changed.
 *   - WAYSTATION_LOG_INFO: the server can be used.
 * Without `cluster` there is no finding. `finding` is valid until `visit` returns. `visit` returns not
 * 0 to continue; the status is of all findings in any case.
 *
 * Errors: WAYSTATION_INVALID (an option, or an argument is NULL), WAYSTATION_FAILED (a server cannot be
 * used), WAYSTATION_EXHAUSTED. */
WAYSTATION_API waystation_status waystation_cluster_check(
    const waystation_options *options, uint32_t deadline_ms,
    int (*visit)(void *user_data, waystation_log_level severity, const waystation_error *finding),
    void *user_data);

/* ---- a relay's life ------------------------------------------------------------------------ */

/* Starts a relay with two threads of its own, three with an audit, and no socket. Each of these starts
 * one more thread, later:
 *   - the first question what a user missed
 *   - the first new token that a client sends on its open socket
 *   - waystation_handover_listen
 *   - the first host name in `cluster` to look up
 * The threads inherit the caller's signal mask: block the signals that your own threads wait for.
 *
 * Errors: WAYSTATION_INVALID (an option; `error` names it), WAYSTATION_EXHAUSTED. On any error *relay
 * is NULL. */
WAYSTATION_API waystation_status waystation_new(const waystation_options *options,
                                                waystation_relay **relay, waystation_error *error);

/* Changes the options that are live (waystation_option_info.is_live); the key file is read again.
 * Open sockets stay open. All other options and the callbacks keep the values from waystation_new.
 *
 * Errors: WAYSTATION_INVALID (an option; nothing was changed), WAYSTATION_EXHAUSTED (a part may be
 * in force already; call it again). */
WAYSTATION_API waystation_status waystation_reconfigure(waystation_relay *relay,
                                                        const waystation_options *options,
                                                        waystation_error *error);

/* Shuts the service down in order. The relay refuses new sockets with 503 stopping, sends Close 1001
 * to the open ones and waits up to `deadline_ms` for their answer. Returns when the last socket is
 * closed, or at the deadline, when it terminates the rest. Also waits until the audit's rows are on
 * the disk: for the rest of the deadline, at least half a second. With `cluster`, also waits until the
 * other nodes know: for the rest of the deadline, at least 250 ms and at most a second. May be
 * called twice.
 *
 * Errors: WAYSTATION_INVALID (NULL), WAYSTATION_EXHAUSTED (new sockets are refused, open ones stay;
 * call it again), WAYSTATION_INTERNAL. */
WAYSTATION_API waystation_status waystation_drain(waystation_relay *relay, uint32_t deadline_ms);

/* Ends the relay at once and frees its sockets, threads and memory. No callback runs when it has
 * returned. Call waystation_drain first if clients should get Close 1001. NULL is allowed.
 *
 * Waits up to one second for the audit's rows, up to one second for waiting events and log lines, and
 * without limit for a callback that is running.
 *
 * Must not be called from a callback of this relay, including `identify`: it would wait for itself.
 * It then only logs an error. Handlers that stay registered with a web server answer 503 on the
 * library's paths. */
WAYSTATION_API void waystation_free(waystation_relay *relay);

/* The relay's id: unique in this process, and never used again. A web server's handlers keep the id
 * instead of a pointer. 0 for NULL. */
WAYSTATION_API uint32_t waystation_id(const waystation_relay *relay);

/* ---- serving ------------------------------------------------------------------------------- */

/* Answers a request for a socket route, /ws/chat/<group>/ or /push/<user>/.
 *   - WAYSTATION_REPLY: `response` holds the refusal to send.
 *   - WAYSTATION_ADOPTED: the relay owns the socket; the server's descriptor reads end-of-file now.
 *   - WAYSTATION_DECLINED: the path is no socket route.
 *
 * The relay is named by its id. Without such a relay, for example after waystation_free, a socket
 * route gets 503 stopped, and any other path is declined as before.
 *
 * Errors: WAYSTATION_INVALID (request or response NULL or of no known size), WAYSTATION_EXHAUSTED,
 * WAYSTATION_INTERNAL. On an error `response` is WAYSTATION_REPLY with a 500 if there was memory for
 * it. */
WAYSTATION_API waystation_status waystation_upgrade(uint32_t relay_id,
                                                    const waystation_request *request,
                                                    waystation_response *response);

/* Answers a request for the HTTP API, /api/v1/… and /healthz: WAYSTATION_REPLY with the whole
 * response, or WAYSTATION_DECLINED for any other path. The response says `Connection: close`: end the
 * connection, since a rest of the body may be unread. Without such a relay, these paths get 503
 * stopped. Errors as waystation_upgrade. */
WAYSTATION_API waystation_status waystation_http(uint32_t relay_id,
                                                 const waystation_request *request,
                                                 waystation_response *response);

/* Ends connections that keep your web server waiting, for servers with a thread for each connection
 * that they read from, such as CivetWeb. Call it about twice a second, from any thread. While all
 * workers are busy, call it 20 times a second if you can: others wait for about two periods.
 *
 * It considers the TCP connections of this process whose local port is one of `ports`, except those
 * that the relay adopted. `workers` is the number of connections that your server serves at a time.
 * With more connections than that, it ends some of them.
 *
 * A network is an IPv4 address or an IPv6 /64 prefix. It may have half of `workers` to which your
 * server has sent nothing, as no whole request has arrived. The oldest above that are ended, if a
 * call saw them at least 40 ms ago.
 *
 * Then slow connections are ended until half of `workers` are left. A connection is slow if no whole
 * request is waiting in it, or if its client has not taken what was written. A call must have seen it
 * at least 0.4 seconds ago. The network with the most connections goes first; of equal ones, that
 * with the oldest connection. Of a network, the oldest go first.
 *
 * Connections of `trusted_proxies` stay. A connection also stays while waystation_upgrade,
 * waystation_http, waystation_origin_check or waystation_is_operator works on its request, unless the
 * call waits for the body. waystation_upgrade refuses an ended connection with 503 not_adoptable.
 * After five seconds without a call, all connections count as new.
 *
 * Your server reads end-of-file from an ended connection; an answer that it is writing still goes
 * out. If its client has not taken the answer 0.4 seconds later, and others still wait, your
 * server's writes fail.
 *
 * Do not call it if your server keeps other connections open, such as its own WebSockets: they look
 * like slow ones. Servers that share a relay may each call it for their ports.
 *
 * Returns the number of ended connections. It is 0 too if `ports` is NULL, `workers` is 0, the relay
 * is gone or being freed, memory ran out, or /proc/self/fd cannot be read. If /proc/self/fd cannot be
 * read, the log has a warning, at most one a minute. waystation_free waits for the call. */
WAYSTATION_API size_t waystation_end_slow_connections(uint32_t relay_id, const uint16_t *ports,
                                                      size_t port_count, size_t workers);

/* Checks Host and Origin of a request that the host application serves itself, such as the page of
 * the chat, by the same rules as the relay's own routes.
 *   - WAYSTATION_ALLOWED: serve it.
 *   - WAYSTATION_REPLY: send the refusal, 403 bad_host or bad_origin.
 *   - WAYSTATION_DECLINED: there is no such relay, so nothing was checked. Serve the page if it needs
 *     no check, as when the chat is switched off.
 * Errors as waystation_upgrade; `action` is then never WAYSTATION_ALLOWED. */
WAYSTATION_API waystation_status waystation_origin_check(uint32_t relay_id,
                                                         const waystation_request *request,
                                                         waystation_response *response);

/* Refuses a request that the web server could not read completely, so that the relay must not see
 * it: WAYSTATION_REPLY with `status` 400 bad_request, 404 not_found or 431 too_many_fields. The
 * refusal is counted and logged like the relay's own; without a relay of that id it is only made.
 * Errors as waystation_upgrade, WAYSTATION_INVALID also for any other status. */
WAYSTATION_API waystation_status waystation_refuse(uint32_t relay_id, int status,
                                                   const waystation_request *request,
                                                   waystation_response *response);

/* 1 if the request's client address is one of `operators`, else 0. 0 if there is no such relay. */
WAYSTATION_API int waystation_is_operator(uint32_t relay_id, const waystation_request *request);

/* The longest body in bytes that waystation_http accepts; 0 if there is no such relay. A web server
 * that fills in `body` itself should read at most one byte more. */
WAYSTATION_API uint64_t waystation_max_body_bytes(uint32_t relay_id);

/* ---- notifications, presence, sessions ------------------------------------------------------ */

/* The result of waystation_push, _presence, _presence_list and _end_sessions. Zero it and set `size`, or use WAYSTATION_CALL_RESULT_INIT. Numbers
 * that a call does not give are 0. With `cluster`, use a deadline of 2000 ms: a node that does not
 * answer makes a result partial after a second. With 1000 ms, the call ends before. */
typedef struct waystation_call_result {
  size_t size;      /* sizeof(waystation_call_result), set by the caller */
  uint64_t sockets; /* push: whose queue took it; presence: push sockets; end_sessions: closed ones */
  uint64_t groups;  /* presence: in which the user is present */
  int has_more;     /* presence_list: 1 if there are more users */
  int partial;      /* 1: a node of the cluster did not answer within a second, so that its sockets,
                       groups or users may be missing; 0: all nodes have answered */
} waystation_call_result;

/* waystation_call_result result = WAYSTATION_CALL_RESULT_INIT; */
#define WAYSTATION_CALL_RESULT_INIT              \
  {                                              \
    sizeof(waystation_call_result), 0, 0, 0, 0 \
  }

/* Sends the host application's own notification to every push socket of `user`: `json`, of `length`
 * bytes, unchanged. Waits up to `deadline_ms`. `result` may be NULL; otherwise it is written if the
 * status is WAYSTATION_OK.
 *
 * Errors: WAYSTATION_INVALID (not a user id, not JSON, longer than max_message_bytes, or `result` has
 * no `size`), WAYSTATION_STOPPED, WAYSTATION_TIMEOUT, WAYSTATION_EXHAUSTED. */
WAYSTATION_API waystation_status waystation_push(waystation_relay *relay, const char *user,
                                                 const char *json, size_t length,
                                                 uint32_t deadline_ms,
                                                 waystation_call_result *result);

/* The number of a user's push sockets, and of the groups in which they are present. `result` and
 * errors as waystation_push. */
WAYSTATION_API waystation_status waystation_presence(waystation_relay *relay, const char *user,
                                                     uint32_t deadline_ms,
                                                     waystation_call_result *result);

/* A user who has a socket. */
typedef struct waystation_user {
  size_t size;           /* set by the library */
  const char *user;
  uint64_t push_sockets; /* open now, on all nodes */
  uint64_t groups;       /* in which they are present, counted on each node; anonymous sockets count for
                            no user */
  uint64_t nodes;        /* of the cluster on which they have a socket; 1 without a cluster */
} waystation_user;

/* Calls `visit` for the users who have a socket, ordered by name byte by byte, on the calling thread:
 * for the first `limit` (1 to 1000) whose names are greater than `after` (NULL or "": all). `visit`
 * returns not 0 to continue. The name is valid until it returns. If result->has_more is 1, call again
 * with the last name. Waits up to `deadline_ms`; the relay reads at most 1,000 users in a round, so
 * that messages do not wait. A user who comes or goes meanwhile may be missing. `result` and errors
 * as waystation_push; WAYSTATION_INVALID also if `after` is not a user id. */
WAYSTATION_API waystation_status waystation_presence_list(
    waystation_relay *relay, const char *after, uint32_t limit, uint32_t deadline_ms,
    int (*visit)(void *user_data, const waystation_user *user), void *user_data,
    waystation_call_result *result);

/* Closes all sockets of `user` with Close 4403. It closes sockets only: the user can open new ones as
 * long as they are identified. A token stays valid until its `exp`: use a short lifetime, or change
 * the key. `result` and errors as waystation_push. */
WAYSTATION_API waystation_status waystation_end_sessions(waystation_relay *relay, const char *user,
                                                         uint32_t deadline_ms,
                                                         waystation_call_result *result);

/* A node of the cluster. */
typedef struct waystation_node {
  size_t size;             /* set by the library */
  const char *name;        /* its node_name */
  const char *incarnation; /* tells its runs apart, also one after a lost connection; "": not known */
  int ready;               /* 1: it is connected, with all subscriptions */
  int self;                /* 1: this relay */
  int64_t last_seen;       /* when it was last heard of, in ms since 1970 by this relay's clock */
} waystation_node;

/* Calls `visit` for each node of the cluster, by name, on the calling thread; for none without a
 * cluster. `visit` returns not 0 to continue. The strings are valid until it returns. In `result`
 * (may be NULL), `partial` is 1 if a server of `cluster` did not answer, which takes two seconds at
 * most. Waits up to `deadline_ms`.
 * Errors: WAYSTATION_INVALID (NULL, or `result` has no `size`), WAYSTATION_STOPPED,
 * WAYSTATION_TIMEOUT, WAYSTATION_EXHAUSTED. */
WAYSTATION_API waystation_status waystation_node_list(
    waystation_relay *relay, uint32_t deadline_ms,
    int (*visit)(void *user_data, const waystation_node *node), void *user_data,
    waystation_call_result *result);

/* A sender in the answer what a user missed. */
typedef struct waystation_missed_sender {
  size_t size;      /* set by the library */
  const char *user; /* valid until the function returns that got it */
  uint64_t count;   /* messages with different ids, and messages without one */
  int64_t first;    /* times of the first and the last, in ms since 1970 */
  int64_t last;
} waystation_missed_sender;

/* The rest of that answer. Zero it and set `size`. */
typedef struct waystation_missed_result {
  size_t size;            /* sizeof(waystation_missed_result), set by the caller */
  uint64_t notifications; /* of the host application */
  int complete;           /* 0: something may be missing; see module/PROTOCOL.md */
  char next[8192];        /* `after` of the next question, with a position for each node */
} waystation_missed_result;

/* What `user` missed: messages that no socket took, and those that every socket lost which had taken
 * them. See "While you were away" in module/PROTOCOL.md. `after` is `next` of an earlier answer; if it
 * is NULL, the question goes back to `since`, in ms since 1970, inclusive. Calls `visit` on the
 * calling thread for each sender, the latest first, 100 at most; it returns not 0 to continue. Waits
 * up to `deadline_ms`; with `cluster`, use 5000 ms, because the answer waits up to 4.75 s for a node that
 * does not answer. It is not counted against the user's message rate, and one question of each user is
 * answered at a time.
 *
 * Errors: WAYSTATION_INVALID (not a user id; `after` or `since` is not valid; the relay has no
 * audit), WAYSTATION_FAILED (the audit cannot be read), WAYSTATION_EXHAUSTED (too many questions
 * wait), WAYSTATION_STOPPED, WAYSTATION_TIMEOUT. `error` says why. */
WAYSTATION_API waystation_status waystation_missed(
    waystation_relay *relay, const char *user, int64_t since, const char *after,
    uint32_t deadline_ms,
    int (*visit)(void *user_data, const waystation_missed_sender *sender), void *user_data,
    waystation_missed_result *result, waystation_error *error);

/* ---- handover ------------------------------------------------------------------------------ */

/* Opens a door, through which other web servers on this machine hand over connections: see
 * module/HANDOVER.md for the messages. `listening_descriptor` is a unix socket of type SOCK_SEQPACKET
 * that listens. It stays the caller's, who may close it at once; the library uses a duplicate, and
 * sets non-blocking mode, which both share. A program that can connect to the socket can name the
 * client's address and user, so its file should be for the web server alone; see also
 * handover_key_file.
 *
 * Requests are admitted on a thread of the library, one at a time, which also calls `identify`. A
 * relay may have several doors. They are closed by waystation_free; while the relay drains, they
 * refuse with 503. Errors: WAYSTATION_INVALID (no such socket), WAYSTATION_EXHAUSTED,
 * WAYSTATION_STOPPED. */
WAYSTATION_API waystation_status waystation_handover_listen(waystation_relay *relay,
                                                            int listening_descriptor,
                                                            waystation_error *error);

/* ---- TLS sessions of a web server ----------------------------------------------------------- */

/* The library links no TLS library. A web server's glue lends it the functions that work on the
 * server's sessions; <waystation/civetweb_openssl.h> does so for CivetWeb with OpenSSL. Only authors
 * of such glue need this part.
 *
 * A session changes hands in these steps:
 *   1. waystation_upgrade calls `hold`, on the server's thread. From then on the server can neither
 *      read nor write through the session, and its own end of the session sends nothing.
 *   2. The library puts one end of a socket pair under the server's descriptor. The server ends the
 *      request as usual: it releases its reference to the session and then shuts its descriptor down.
 *   3. The relay's thread reads end-of-file from the other end of the pair. The server does not touch
 *      the session any more: the relay calls `begin`, opens the socket and sends the 101.
 * If the server does not shut its descriptor down within 10 seconds, or writes to it, the relay
 * calls `release` and closes the connection. It counts that as upgrade refused with not_adoptable. */

/* What `read` and `write` of waystation_stream_functions return, if not a number of bytes. */
typedef enum waystation_stream_result {
  WAYSTATION_STREAM_ENDED = 0,       /* read only: the client ended its direction, by the rules of TLS */
  WAYSTATION_STREAM_WANT_READ = -1,  /* nothing was read; try again when the descriptor is readable */
  WAYSTATION_STREAM_WANT_WRITE = -2, /* nothing was done; try again when the descriptor is writable */
  WAYSTATION_STREAM_BROKEN = -3      /* an error, or an end of TCP without an end of TLS */
} waystation_stream_result;

/* The functions for the sessions of one TLS library. A static object: it must exist as long as the
 * process does. None of the functions may wait, throw, or call a function of this library other than
 * those of this part. Each member is required. */
typedef struct waystation_stream_functions {
  size_t size; /* sizeof(waystation_stream_functions) */

  /* The address of an object in the TLS library, always the same one: it tells the copies of a TLS
   * library in one process apart. */
  const void *(*library)(void);
  /* Begins to call waystation_stream_made for each new session of the TLS library, and
   * waystation_stream_gone for each that is freed. waystation_stream_use calls it once. Returns 0, or
   * not 0 if it is not possible. */
  int (*watch)(void);
  /* Whether `session` is that of the server's `connection`. Called by waystation_stream_find, on the
   * thread that made the session and holding a lock, while another thread may be freeing the
   * session. It may only compare values, and must not call this library. */
  int (*is_of)(const void *session, const void *connection);
  /* The session's descriptor, or -1. On the thread that serves the connection. */
  int (*descriptor)(const void *session);

  /* Takes a reference to `session` on the server's thread, and prepares all memory that `begin` needs.
   * Until `begin`, the server's calls must send and receive nothing. Returns the object that the
   * functions below get, or NULL and in *problem why not: static text without a first upper-case
   * letter. */
  void *(*hold)(void *session, const char **problem);
  /* Undoes `hold` on the server's thread, which goes on with the session. Frees `object`. */
  void (*unhold)(void *object);

  /* The relay's thread, first of all: the server has released the session. From here on the session
   * reads from and writes to `descriptor`, a non-blocking use of which is possible with MSG_DONTWAIT
   * only. It stays the library's. Returns 0, or not 0 if the session cannot be used. */
  int (*begin)(void *object, int descriptor);
  /* The relay's thread: reads at least one byte and at most `size`, or returns a
   * waystation_stream_result. The amount of work per call must be bounded. */
  ptrdiff_t (*read)(void *object, char *buffer, size_t size);
  /* The relay's thread: takes bytes from the front of `bytes` and returns their number, which is more
   * than 0 unless `size` is 0, or returns a waystation_stream_result. Bytes that the kernel does not
   * take are held in memory; with held bytes from earlier calls left, it takes nothing. A call with
   * `size` 0 sends what is held. The next call may have other bytes. */
  ptrdiff_t (*write)(void *object, const char *bytes, size_t size);
  /* The relay's thread: not 0 if `read` may return bytes although the descriptor is not readable. */
  int (*pending)(const void *object);
  /* The relay's thread: the number of encrypted bytes that are held for the kernel. */
  size_t (*held)(const void *object);
  /* The relay's thread: ends the direction to the client by the rules of TLS (close_notify). `write`
   * with size 0 sends it. `read` discards what the client sends from then on, and returns
   * WAYSTATION_STREAM_ENDED at the end of TCP. May be called twice. */
  void (*end)(void *object);
  /* Releases the reference and frees `object`, without sending anything. Any thread; after `hold` at
   * any time, also while the server still uses its own reference. */
  void (*release)(void *object);
} waystation_stream_functions;

/* A web server's TLS session. */
typedef struct waystation_stream {
  size_t size; /* sizeof(waystation_stream) */
  const waystation_stream_functions *functions;
  void *session;  /* valid until waystation_upgrade returns */
  int descriptor; /* the connection's socket; waystation_request.descriptor is not used then */
} waystation_stream;

/* Lends the library the functions of a TLS library, before the server accepts connections. It may be
 * called again, also with other functions for the same `library`: the first stay in use.
 *
 * Errors: WAYSTATION_INVALID (a member is missing), WAYSTATION_FAILED (`watch` failed),
 * WAYSTATION_EXHAUSTED. */
WAYSTATION_API waystation_status waystation_stream_use(const waystation_stream_functions *functions,
                                                       waystation_error *error);

/* The TLS library made a session, on the thread that will serve its connection. Without memory the
 * session is not found later. Any thread. */
WAYSTATION_API void waystation_stream_made(const waystation_stream_functions *functions,
                                           void *session);

/* The session is about to be freed, or was held: it is not found any more. Does nothing for a session
 * that is not known. Any thread. */
WAYSTATION_API void waystation_stream_gone(const void *session);

/* Finds the session of the server's `connection` among those that the calling thread made. Returns 1
 * and fills in `stream`, whose `size` the caller has set, or returns 0. */
WAYSTATION_API int waystation_stream_find(const void *connection, waystation_stream *stream);

/* ---- statistics ---------------------------------------------------------------------------- */

/* Counters since the relay started, and gauges (now). waystation_stat_at describes each field. */
typedef struct waystation_stats {
  size_t size; /* sizeof(waystation_stats), set by the caller */
  uint64_t chat_sockets;         /* open now */
  uint64_t push_sockets;         /* open now */
  uint64_t groups;               /* with an open chat socket, now */
  uint64_t queued_bytes;         /* in all outgoing queues, now */
  uint64_t upgrades_accepted;    /* sockets adopted */
  uint64_t upgrades_refused;     /* requests for a socket route that were refused */
  uint64_t messages_chat;        /* delivered in the group */
  uint64_t messages_pushed;      /* push fallbacks that reached a push socket */
  uint64_t messages_undelivered; /* push fallbacks that reached no socket */
  uint64_t notifications;        /* the host application's own */
  uint64_t deliveries_dropped;   /* queued for a socket that closed first */
  uint64_t errors_sent;          /* {"error":…} frames */
  uint64_t closed_slow;          /* sockets closed with 4408 */
  uint64_t closed_dead;          /* sockets from which nothing came for two ping intervals */
  uint64_t events_lost;          /* not delivered to on_event, which was too slow */
  uint64_t audit_state;          /* a waystation_audit_state */
  uint64_t audit_rows_written;   /* committed to the audit's file */
  uint64_t audit_rows_lost;      /* not kept, because the disk took none or was too slow; a gap in the
                                    file reports them later */
  uint64_t audit_rows_waiting;   /* in memory, now */
  uint64_t audit_lag_ms;         /* age of the oldest waiting row, now */
  uint64_t audit_file_bytes;     /* size of the file and its WAL, now */
  uint64_t log_lines_lost;       /* not delivered to on_log, which was too slow */
  uint64_t cluster_engines;      /* servers that connect the nodes; 0: one node */
  uint64_t cluster_engines_ready; /* of them: connected, with all subscriptions, now */
  uint64_t cluster_nodes;        /* nodes of the cluster, this one too, as last reported */
  uint64_t cluster_round_trip_us; /* of the last heartbeat, microseconds */
  uint64_t cluster_unavailable;  /* messages not passed on: no exchange between nodes */
  uint64_t cluster_undecided;    /* messages that were under way when the connection was lost */
  uint64_t cluster_partial;      /* messages that only sockets of this node got */
  uint64_t cluster_resubscriptions; /* of all channels, after a lost connection */
  uint64_t cluster_frames_rejected; /* from other nodes: malformed, repeated, or sealed with another
                                       key */
  uint64_t cluster_name_taken;   /* servers where another live node has this node's name; sockets of
                                    theirs are refused with 503 `unavailable`, now */
  uint64_t cluster_round_trip_us_total; /* the sum of all heartbeats, microseconds */
  uint64_t cluster_settings_differ; /* servers where another node has other keys, or a list in
                                       `cluster` of another length or order. While it is not 0, all
                                       sockets are refused with 503 `unavailable` */
} waystation_stats;

/* Reads the statistics; never waits for the relay. Errors: WAYSTATION_INVALID. */
WAYSTATION_API waystation_status waystation_stats_read(const waystation_relay *relay,
                                                       waystation_stats *stats);

/* One field of waystation_stats. The strings are static storage and never NULL. */
typedef struct waystation_stat_info {
  size_t size;             /* sizeof(waystation_stat_info), set by the caller */
  const char *name;        /* of the field, and of the member in GET /healthz: "chat_sockets" */
  const char *help;        /* one sentence */
  size_t field_offset;     /* offsetof(waystation_stats, <the field>) */
  int is_counter;          /* 1: it only grows; 0: a gauge */
  const char *metric;      /* its name for Prometheus; "": a waystation_counter covers it */
  const char *label;       /* that tells it from the others of this metric; "": none */
  const char *label_value;
  uint64_t divisor;        /* the metric's value is the field's divided by this: 1000 for ms */
} waystation_stat_info;

/* The number of fields that waystation_stat_at describes. */
WAYSTATION_API size_t waystation_stat_count(void);

/* Describes a field; `index` is less than waystation_stat_count(). Fields of one metric follow each
 * other. Errors: WAYSTATION_INVALID (no such index, no `size`). */
WAYSTATION_API waystation_status waystation_stat_at(size_t index, waystation_stat_info *info);

/* Counters with a label. */
typedef enum waystation_counter {
  WAYSTATION_COUNTER_UPGRADES_REFUSED = 0,   /* by refusal code */
  WAYSTATION_COUNTER_HTTP_REFUSED = 1,       /* by refusal code: by waystation_http and
                                                waystation_origin_check */
  WAYSTATION_COUNTER_DELIVERIES_DROPPED = 2, /* by the reason why the socket closed: "closed" by its
                                                peer or the network, "slow", "dead", "ended" by an
                                                administrator, "expired", "violation" of the protocol,
                                                "going_away", "failed" (out of memory) */
  WAYSTATION_COUNTER_ERRORS_SENT = 3,        /* {"error":…} frames, by error code */
  WAYSTATION_COUNTER_SOCKETS_CLOSED = 4,     /* by the same reasons as deliveries */
  WAYSTATION_COUNTER_HANDOVERS = 5,          /* connections to the door, by result: "handed", "pumped"
                                                (the web server copies its bytes), "refused",
                                                "unavailable" (none of these) */
  WAYSTATION_COUNTER_CLUSTER_ROUND_TRIPS = 6 /* heartbeats to the servers of the cluster that took at
                                                most so many seconds: "0.0001" to "1", and "+Inf": all.
                                                The buckets of a Prometheus histogram, whose sum is
                                                cluster_round_trip_us_total. No value without a cluster */
} waystation_counter;

/* One of these counters. The strings are static storage and never NULL. */
typedef struct waystation_counter_info {
  size_t size;        /* sizeof(waystation_counter_info), set by the caller */
  const char *metric; /* its name for Prometheus: "waystation_upgrades_refused_total" */
  const char *label;  /* "code", "reason", "result", or "le": the buckets of a histogram */
  const char *help;   /* one sentence */
} waystation_counter_info;

/* The number of counters with a label; they are numbered from 0. */
WAYSTATION_API size_t waystation_counter_count(void);

/* Describes a counter. Errors: WAYSTATION_INVALID (no such counter, no `size`). */
WAYSTATION_API waystation_status waystation_counter_at(waystation_counter counter,
                                                       waystation_counter_info *info);

/* Calls `visit` with each value of a counter's label and its count, on the calling thread. The set of
 * values is always the same, about 25 at most, also those with a count of 0; later versions may have
 * more. `value` is static storage. `visit` returns not 0 to continue. Never waits for the relay.
 * Errors: WAYSTATION_INVALID (also: no such counter), WAYSTATION_EXHAUSTED. */
WAYSTATION_API waystation_status waystation_counter_read(
    const waystation_relay *relay, waystation_counter counter,
    int (*visit)(void *user_data, const char *value, uint64_t count), void *user_data);

/* ---- tokens --------------------------------------------------------------------------------- */

/* The claims that waystation_token_issue puts into a token. Zero it and set `size`. */
typedef struct waystation_token_request {
  size_t size;               /* sizeof(waystation_token_request) */
  const char *user;          /* `sub`: [0-9a-z]{1,64} */
  const char *scopes;        /* `scope`: "push", "admin" or both, separated by a space; NULL: none */
  uint32_t lifetime_seconds; /* until `exp`; 0: 3600 */
  const char *key_id;        /* the key of the file that signs (`kid`); NULL: the first that can */
} waystation_token_request;

/* Signs a token that a relay with these options accepts: with a secret or private key of
 * `jwt_key_file`, for `jwt_issuer` and every entry of `jwt_audience`. It is meant for trying a
 * configuration, and for host applications that have logins and no JWT library. It needs no relay,
 * and `auth` may have any value. The token and a NUL are written to `token`, a buffer of `token_size`
 * bytes; 8193 are always enough.
 *
 * Errors: WAYSTATION_INVALID (an option or a field of `request`; no key of the file can sign; the
 * token would have more than 8192 bytes; the buffer is too small), WAYSTATION_EXHAUSTED. On any error *token is an empty string. */
WAYSTATION_API waystation_status waystation_token_issue(const waystation_options *options,
                                                        const waystation_token_request *request,
                                                        char *token, size_t token_size,
                                                        waystation_error *error);

/* ---- the audit ----------------------------------------------------------------------------- */

/* With `audit_file`, a relay writes a row for each push fallback, undelivered message, dropped
 * delivery and notification of the host application: time, sender, receiver, outcome, length and the
 * client's message id. A message that is delivered in its group makes no row. No row has content.
 *
 * The file is an SQLite database in WAL mode with mode 0600. It must belong to the caller and must
 * not be a link. Next to it are the WAL (FILE-wal, FILE-shm) and, while a relay writes it,
 * FILE.run-NODE. Two relays may write one file if their node_name differs; a second relay with the
 * same name is refused. Where each has thousands of rows a second, give each its own file.
 * `audit_max_bytes` bounds the file. The WAL takes up to 16 MiB more. While another process keeps
 * reading, the WAL takes up to 64 MiB, or a quarter of the limit if that is more. It takes up to
 * 256 MiB if there is no limit.
 *
 * The relay never waits for the disk. The writer collects rows for 100 ms, or for 1 s while more than
 * a thousand come in 100 ms. It then commits and syncs up to 50,000 of them in one transaction. A
 * crash or a loss of power loses at most the rows of that time and of the running commit. A row with
 * the outcome WAYSTATION_GAP reports the loss. While the disk is full, or the file locked, read-only
 * or deleted, the chat goes on and the writer retries. Up to 16 MiB of rows, about 200,000, wait in
 * memory; further ones are counted. A damaged file is renamed and kept. Only if nothing can be
 * written next to the file either, from the start of a run to its end, a loss leaves no gap.
 *
 * The functions below read such a file from any process, with or without a relay that writes it. One
 * thread at a time may use a handle. */

/* The state of the audit's writer. */
typedef enum waystation_audit_state {
  WAYSTATION_AUDIT_OFF = 0,
  WAYSTATION_AUDIT_STARTING = 1,
  WAYSTATION_AUDIT_OK = 2,
  WAYSTATION_AUDIT_DISK_FULL = 3, /* or a quota, or a limit of file sizes */
  WAYSTATION_AUDIT_LOCKED = 4,    /* another process holds the file's lock */
  WAYSTATION_AUDIT_READ_ONLY = 5, /* the file system, or the file */
  WAYSTATION_AUDIT_BLOCKED = 6,   /* a reader keeps the WAL from being checkpointed */
  WAYSTATION_AUDIT_FAILED = 7     /* any other error; the log has it */
} waystation_audit_state;

typedef struct waystation_audit waystation_audit;

/* A selection of rows. Zero it and set `size`: every row. */
typedef struct waystation_audit_filter {
  size_t size;      /* sizeof(waystation_audit_filter) */
  int64_t since;    /* inclusive */
  int64_t until;    /* exclusive; 0: no end */
  const char *user; /* sender or receiver; NULL or "": anyone, here and below */
  const char *from;
  const char *to;
  uint32_t outcomes; /* 1u << WAYSTATION_PUSHED | …; 0: all. Gaps are always selected, whatever the
                        users and outcomes: any row may be missing there */
} waystation_audit_filter;

typedef struct waystation_audit_row {
  size_t size; /* set by the library */
  int64_t id;
  int64_t at;  /* of a gap: its begin */
  waystation_outcome outcome;
  const char *node;       /* the relay's node_name */
  const char *group;      /* NULL: the host application's own notification, or a gap */
  const char *from;       /* NULL likewise */
  const char *to;         /* NULL: a gap */
  const char *message_id; /* NULL: the client gave none */
  uint64_t reached;       /* sockets whose queue took it */
  uint64_t bytes;         /* length of the message's JSON */
  int64_t lost;           /* of a gap: the number of missing rows; -1: unknown */
  int64_t lost_until;     /* of a gap: its end */
} waystation_audit_row;

typedef struct waystation_audit_counts {
  size_t size;           /* sizeof(waystation_audit_counts), set by the caller */
  uint64_t pushed;       /* rows of each outcome */
  uint64_t undelivered;
  uint64_t dropped;
  uint64_t gaps;
  uint64_t lost;         /* missing rows, in the gaps of known size */
  uint64_t unknown_gaps; /* gaps of unknown size */
  int64_t first_at;      /* of rows that are not gaps; 0: there is none */
  int64_t last_at;
} waystation_audit_counts;

/* What waystation_audit_top counts. */
typedef enum waystation_audit_ranking {
  WAYSTATION_AUDIT_TOP_UNDELIVERED = 0, /* users, by undelivered messages to them */
  WAYSTATION_AUDIT_TOP_FALLBACKS = 1,   /* groups, by messages whose receiver was not present */
  WAYSTATION_AUDIT_TOP_DROPPED = 2      /* users, by dropped deliveries to their sockets: a message
                                           counts once for each socket */
} waystation_audit_ranking;

/* Opens a file for reading. Errors: WAYSTATION_INVALID (not an audit, not the caller's, written by a
 * newer version), WAYSTATION_FAILED, WAYSTATION_EXHAUSTED. On any error *audit is NULL. Close it with
 * waystation_audit_close. */
WAYSTATION_API waystation_status waystation_audit_open(const char *file, waystation_audit **audit,
                                                       waystation_error *error);

/* NULL is allowed. */
WAYSTATION_API void waystation_audit_close(waystation_audit *audit);

/* Calls `visit` for rows, oldest first, on the calling thread: for all of them, or for the last
 * `newest` if that is not 0. Reading all of them takes constant memory and never blocks the writer,
 * however slow `visit` is. `visit` returns not 0 to continue. The row's strings are valid until it
 * returns. Errors: WAYSTATION_INVALID (the filter), WAYSTATION_FAILED, WAYSTATION_EXHAUSTED. */
WAYSTATION_API waystation_status waystation_audit_read(
    waystation_audit *audit, const waystation_audit_filter *filter, uint64_t newest,
    int (*visit)(void *user_data, const waystation_audit_row *row), void *user_data,
    waystation_error *error);

/* Counts rows. Errors as waystation_audit_read. */
WAYSTATION_API waystation_status waystation_audit_count(waystation_audit *audit,
                                                        const waystation_audit_filter *filter,
                                                        waystation_audit_counts *counts,
                                                        waystation_error *error);

/* Calls `visit` for the first `limit` entries of a ranking, highest first. `visit` returns not 0 to
 * continue. Errors as waystation_audit_read. */
WAYSTATION_API waystation_status waystation_audit_top(
    waystation_audit *audit, const waystation_audit_filter *filter,
    waystation_audit_ranking ranking, uint64_t limit,
    int (*visit)(void *user_data, const char *name, uint64_t count), void *user_data,
    waystation_error *error);

/* What `user` missed since `since`, by the rows of all nodes: as waystation_missed, which says more.
 * Rows that a relay has not written yet are not covered; result->next is "". Errors as
 * waystation_audit_read, WAYSTATION_INVALID also for a file that an earlier version wrote. */
WAYSTATION_API waystation_status waystation_audit_missed(
    waystation_audit *audit, const char *user, int64_t since,
    int (*visit)(void *user_data, const waystation_missed_sender *sender), void *user_data,
    waystation_missed_result *result, waystation_error *error);

/* Deletes rows in small steps and frees their space, with or without a relay that writes the file.
 * Their bytes are overwritten. A gap is deleted only if it lies completely within the filter's time
 * and the filter names no user and no outcomes other than WAYSTATION_GAP. If the filter names no user,
 * the file does not count as complete for the time of the rows. No other trace remains. *rows
 * (may be NULL) is the number of deleted rows, also on an error. Errors as waystation_audit_open. */
WAYSTATION_API waystation_status waystation_audit_prune(const char *file,
                                                        const waystation_audit_filter *filter,
                                                        uint64_t *rows, waystation_error *error);

#ifdef __cplusplus
}
#endif

#endif
