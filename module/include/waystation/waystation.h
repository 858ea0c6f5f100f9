/* Waystation: a one-to-one chat and push relay over WebSocket that stores no conversation.
 *
 * This is the whole public interface of libwaystation. It is plain C, knows no web server, throws
 * nothing and never ends the host's process. The glue for CivetWeb is <waystation/civetweb.h>.
 *
 * A relay in four steps:
 *
 *     waystation_options options;
 *     waystation_options_init(&options, sizeof options);
 *     waystation_relay *relay;
 *     char error[256];
 *     if (waystation_new(&options, &relay, error, sizeof error) != WAYSTATION_OK) …
 *     waystation_civetweb_attach(relay, ctx);         // both socket routes are there
 *     …
 *     waystation_free(relay);                         // before or after mg_stop(ctx)
 *
 * Conventions
 *   - Strings are NUL-terminated UTF-8. What goes in is copied before the call returns unless the
 *     function says otherwise; what comes out belongs to whom the function says.
 *   - Every function may be called from any thread, and from the callbacks, except waystation_free,
 *     which says why.
 *   - A handle is good until waystation_free is called with it: then no thread may be in a function
 *     that takes it, nor begin one, but for callbacks until they return. Functions that take the
 *     relay's id instead may be called at any time.
 *   - Structs that carry `size` are versioned by it: fields are only ever added at the end, a field
 *     beyond the caller's `size` takes its default. Zero a struct and set `size`, or use the
 *     function that does.
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
  /* An argument, an option or a JSON text is not what the function takes. Nothing was done. */
  WAYSTATION_INVALID = 1,
  /* Memory, threads or descriptors ran out. Nothing was done; it may work later. */
  WAYSTATION_EXHAUSTED = 2,
  /* The relay is being freed. Nothing was done, and nothing will be. (One that drains still answers,
   * and reaches whoever is left.) */
  WAYSTATION_STOPPED = 3,
  /* The relay did not answer within the deadline. It may still do what was asked. */
  WAYSTATION_TIMEOUT = 4,
  /* A defect of the library's own. Nothing is known of what was done. Please report it. */
  WAYSTATION_INTERNAL = 5,
  /* A file could not be read or written, or another process holds its lock. Nothing was done, or
   * only in part; it may work later. */
  WAYSTATION_FAILED = 6
} waystation_status;

/* The words for a status, in English; static storage, never NULL. */
WAYSTATION_API const char *waystation_status_text(waystation_status status);

/* The version of the library that is running, such as "0.1.0"; static storage. */
WAYSTATION_API const char *waystation_version(void);

/* ---- requests and responses ---------------------------------------------------------------- */

typedef struct waystation_header {
  const char *name;
  const char *value;
} waystation_header;

/* An HTTP request as a web server read it. Everything it points to stays the caller's and need
 * only live until the call that takes it returns. */
typedef struct waystation_request {
  size_t size;            /* sizeof(waystation_request) */
  const char *method;     /* "GET" */
  const char *target;     /* path or absolute URI as on the request line, still percent-encoded
                             where the server keeps it so; up to the '?' or with the query */
  const char *query;      /* what follows the '?', or NULL */
  const char *version;    /* "1.1" */
  const waystation_header *headers; /* every header field, in order, repeated ones repeated */
  size_t header_count;
  const char *remote_address; /* the peer's address as text, such as "192.0.2.7" or "::1" */
  uint16_t remote_port;
  uint16_t local_port;
  int is_tls;             /* not 0: the server itself speaks TLS on this connection */
  int descriptor;         /* the connection's socket; -1, not 0: find it by address and ports */
  const char *body;       /* for waystation_http: the body, or NULL */
  size_t body_size;       /* bytes of it that are there */
  int body_truncated;     /* not 0: the client sent more than `body_size` */
  void *connection;       /* the server's own connection, only handed on to `identify` */
  /* For waystation_http, where `body` is NULL and one is due: puts the next bytes of it into
   * `buffer`, at least one and at most `size`, and returns how many; 0 where none came for too long,
   * negative where it broke off. Called on the same thread, only once the caller is known to be
   * allowed what they ask for, never for more than the Content-Length, and not again after some ten
   * seconds: it should wait for a few at most. NULL: there is nothing to read. */
  int (*read_body)(void *body_source, char *buffer, size_t size);
  void *body_source;
} waystation_request;

/* What to do with a request. */
typedef enum waystation_action {
  WAYSTATION_NOT_OURS = 0, /* no route of the relay's: serve it yourself */
  WAYSTATION_REPLY = 1,    /* send `bytes` as they are, then treat the request as served */
  WAYSTATION_TAKEN = 2     /* the socket is the relay's: write nothing, end the request */
} waystation_action;

/* A response to send. Zero it, set `size`, clear it after use. */
typedef struct waystation_response {
  size_t size;   /* sizeof(waystation_response) */
  int action;    /* a waystation_action */
  int status;    /* the HTTP status of `bytes`; 101 where the socket was taken */
  char *bytes;   /* status line, header fields and body, then a NUL; the library's until
                    waystation_response_clear */
  size_t length; /* of `bytes`, without the NUL */
} waystation_response;

/* Gives back what a response holds. Legal on a zeroed one, and twice. */
WAYSTATION_API void waystation_response_clear(waystation_response *response);

/* ---- options ------------------------------------------------------------------------------- */

typedef struct waystation_relay waystation_relay;

typedef enum waystation_auth {
  WAYSTATION_AUTH_OPEN = 0,    /* `?user=` names the caller; loopback only, unless allowed */
  WAYSTATION_AUTH_JWT = 1,     /* a signed token; see jwt_key_file */
  WAYSTATION_AUTH_HEADER = 2,  /* header fields set by a proxy in trusted_proxies */
  WAYSTATION_AUTH_CALLBACK = 3 /* the `identify` function */
} waystation_auth;

typedef enum waystation_log_level {
  WAYSTATION_LOG_ERROR = 0,
  WAYSTATION_LOG_WARNING = 1,
  WAYSTATION_LOG_INFO = 2,
  WAYSTATION_LOG_DEBUG = 3
} waystation_log_level;

/* Who a caller is, as the embedder's `identify` says. */
typedef struct waystation_identity {
  size_t size;         /* set by the library */
  char user[65];       /* [0-9a-z]{1,64} */
  char scopes[192];    /* separated by spaces: "push", "admin" */
  int64_t expires_at;  /* when the sockets end with 4401; 0: never */
} waystation_identity;

/* How a message that was not delivered in its group ended. There is no field for what it said. */
typedef enum waystation_outcome {
  WAYSTATION_PUSHED = 1,      /* taken by at least one push socket */
  WAYSTATION_UNDELIVERED = 2, /* reached no socket */
  WAYSTATION_DROPPED = 3,     /* queued for a socket that ended before its kernel had it */
  WAYSTATION_GAP = 4          /* only in an audit: rows are missing here */
} waystation_outcome;

typedef struct waystation_event {
  size_t size;
  waystation_outcome outcome;
  int64_t at;
  const char *group;      /* NULL: the appliance's own notification */
  const char *from;       /* NULL likewise */
  const char *to;
  const char *message_id; /* NULL: the client gave none */
  uint64_t reached;       /* sockets whose queue took it */
  uint64_t bytes;         /* of the message's value */
} waystation_event;

typedef struct waystation_options {
  size_t size; /* set by waystation_options_init */

  /* Identity. Lists are separated by commas; NULL or "" is an empty list. */
  int auth;                       /* a waystation_auth; WAYSTATION_AUTH_OPEN */
  const char *jwt_key_file;
  const char *jwt_issuer;
  const char *jwt_audience;
  const char *identity_header;    /* "X-Forwarded-User" */
  const char *scopes_header;
  const char *trusted_proxies;    /* addresses and CIDR blocks */
  const char *allowed_origins;    /* such as "https://chat.example" */
  const char *allowed_hosts;
  const char *operators;          /* addresses and CIDR blocks; "127.0.0.0/8,::1" */
  int allow_open_network;         /* 0 */
  int allow_query_token;          /* 0 */

  /* Limits. The first four are switched off by 0. */
  uint32_t max_connections;             /* 10000 */
  uint32_t max_connections_per_user;    /* 16 */
  uint32_t max_connections_per_address; /* 64 */
  uint32_t messages_per_second;         /* 50, a user */
  uint32_t message_burst;               /* 200 */
  uint64_t max_message_bytes;           /* 65536 */
  uint64_t max_queue_bytes;             /* 1048576, a socket; 1 KiB more than a message, at least */
  uint64_t max_total_queue_bytes;       /* 268435456, all sockets together */

  uint32_t busy_poll_microseconds; /* 0 */
  uint32_t ping_interval_seconds;  /* 25 */

  /* Callbacks. Each gets `user_data`. */
  void *user_data;

  /* Who is calling? Called for WAYSTATION_AUTH_CALLBACK on the web server's thread, for socket
   * routes and the HTTP API. Returns 1 with `identity` filled in, or 0: 401 unauthenticated. */
  int (*identify)(void *user_data, const waystation_request *request,
                  waystation_identity *identity);

  /* A push fallback, an undelivered message or a dropped delivery. On the library's callback
   * thread, which carries nothing else; the event's strings live until it returns. Events that
   * come faster than the callback takes them are counted in waystation_figures.events_lost. */
  void (*on_event)(void *user_data, const waystation_event *event);

  /* A line for the log, without a line end. NULL: nothing is logged. On the callback thread as well,
   * one call at a time with `on_event`, so a moment after what it tells of: it may come before
   * waystation_new has returned, or when that fails. What was logged before waystation_free, or by
   * it, has been handed over when it returns. Up to 256 lines wait for a callback that is slow, and
   * what comes beyond them is counted in waystation_figures.log_lines_lost. Strangers can cause
   * lines, such as of sockets that are refused: limit how many of a kind you keep. */
  void (*on_log)(void *user_data, waystation_log_level level, const char *line);

  /* The audit: a file that keeps who was sent what when and what became of it, never what it said;
   * see "the audit" below. `on_event` is called as well, if it is there. */
  const char *audit_file;         /* its path; NULL or "": none is kept */
  uint32_t audit_retention_days;  /* 30; older rows are taken out. 0: whatever their age */
  uint64_t audit_max_bytes;       /* 67108864, at least 1048576; beyond it the oldest rows are taken
                                     out. 0: whatever the size */
  const char *audit_node;         /* which of several relays writes a row: 1 to 64 of the characters
                                     A-Z, a-z, 0-9, '.', '_', '-'; NULL or "": the host's name */

  /* 64: how many descriptors stay free when a socket is taken over; without, it is refused with 503.
   * A server that has none left can accept nobody, and some try without a pause. As many as your
   * server may need at once, for CivetWeb `num_threads` and `connection_queue` and a few. */
  uint32_t descriptor_reserve;
} waystation_options;

/* Fills in the defaults stated above. `size` is sizeof(waystation_options) as the caller knows it. */
WAYSTATION_API void waystation_options_init(waystation_options *options, size_t size);

/* ---- a relay's life ------------------------------------------------------------------------ */

/* Starts a relay: two threads of its own, three with an audit, no socket yet. One more is started when
 * the first client sends a fresh token on its open socket. The threads keep the signal mask of the
 * caller: block what your own threads are to receive.
 *
 * Errors: WAYSTATION_INVALID (an option; `error` names it, its value and what is allowed),
 * WAYSTATION_EXHAUSTED. On any error *relay is NULL. `error` may be NULL. */
WAYSTATION_API waystation_status waystation_new(const waystation_options *options,
                                                waystation_relay **relay, char *error,
                                                size_t error_size);

/* Puts other options in force: identity (keys are read anew), limits, intervals, and what the audit
 * keeps. The audit's file and node stay those given to waystation_new. Open sockets stay.
 * `user_data` and the callbacks are those given to waystation_new, whatever stands here.
 *
 * Errors: WAYSTATION_INVALID (as for waystation_new; everything stays as it was),
 * WAYSTATION_EXHAUSTED (some of it may be in force already: call it again). */
WAYSTATION_API waystation_status waystation_reconfigure(waystation_relay *relay,
                                                        const waystation_options *options,
                                                        char *error, size_t error_size);

/* Ends service kindly: new sockets are refused with 503, open ones get Close 1001 and up to
 * `deadline_ms` to answer it. Returns when the last socket is closed, or the deadline has passed
 * and the rest was cut, and the audit's rows are on the disk: for that it takes what is left of the
 * deadline, half a second at least. Legal twice.
 *
 * Errors: WAYSTATION_INVALID (NULL), WAYSTATION_EXHAUSTED (new sockets are refused, open ones stay;
 * call it again), WAYSTATION_INTERNAL. */
WAYSTATION_API waystation_status waystation_drain(waystation_relay *relay, uint32_t deadline_ms);

/* Ends the relay at once and gives everything back: sockets, threads, memory. When it returns no
 * callback is running or will run. Drain first if peers should hear 1001. NULL is legal.
 *
 * It waits up to a second for the audit's rows to be written, up to another for events and lines of the
 * log to be handed over, and for a callback that is running however long that takes.
 *
 * Must not be called from a callback of this relay, `identify` included: it would wait for that
 * callback to return. It then does nothing but log that. Handlers that stay registered with a web
 * server answer 503 from now on. */
WAYSTATION_API void waystation_free(waystation_relay *relay);

/* A number that names this relay for as long as the process lives and is never given to another.
 * What a web server keeps beside its handlers instead of a pointer. 0 for NULL. */
WAYSTATION_API uint32_t waystation_id(const waystation_relay *relay);

/* ---- serving ------------------------------------------------------------------------------- */

/* Answers a request for a socket route, /ws/chat/<group>/ or /push/<user>/: either `response`
 * holds the refusal to send (WAYSTATION_REPLY), or the socket was taken over (WAYSTATION_TAKEN),
 * and the server's descriptor now reads end-of-file.
 *
 * The relay is named by its id, so that a handler which outlives it is answered with 503.
 * WAYSTATION_NOT_OURS for any other path.
 *
 * Errors: WAYSTATION_INVALID (request or response NULL or of no known size), WAYSTATION_EXHAUSTED,
 * WAYSTATION_INTERNAL.
 * On an error `response` is WAYSTATION_REPLY with a 500 wherever memory for it could be had. */
WAYSTATION_API waystation_status waystation_upgrade(uint32_t relay_id,
                                                    const waystation_request *request,
                                                    waystation_response *response);

/* Answers a request for the HTTP API: /api/v1/… and /healthz. WAYSTATION_REPLY with the whole
 * response, WAYSTATION_NOT_OURS for any other path. Each response says `Connection: close`, and
 * there may be a body that nobody wanted to read: end the connection. Errors as
 * waystation_upgrade. */
WAYSTATION_API waystation_status waystation_http(uint32_t relay_id,
                                                 const waystation_request *request,
                                                 waystation_response *response);

/* Ends connections that keep your web server waiting, for servers with a thread for each connection
 * that they read from, such as CivetWeb. Call it about twice a second, on any thread.
 *
 * It looks at the TCP connections of this process whose local port is one of `ports`, those of the
 * relay aside. Where there are more than `workers`, which is how many your server reads from at one
 * time, slow ones are ended until half of `workers` are left. A connection is slow if it was there
 * in the call before and no whole request is waiting in it. Those of the address with the most
 * connections go first, and of these the oldest; those of `trusted_proxies` stay. Your server reads
 * end-of-file from a connection that was ended; an answer that it is writing still goes out.
 *
 * It cannot tell a connection on which your server waits for a request from one that your server
 * itself keeps open, such as a WebSocket of your own: do not call it if you have such.
 *
 * Returns how many were ended; 0 also where `ports` is NULL or `workers` 0, the relay is gone,
 * there is no memory for it or no /proc. */
WAYSTATION_API size_t waystation_end_slow_connections(uint32_t relay_id, const uint16_t *ports,
                                                      size_t port_count, size_t workers);

/* For what your server serves itself beside the relay, such as the page of the chat: whether Host and
 * Origin are right, as on every route of the relay's. WAYSTATION_REPLY with a 403 where a page of
 * somebody else's asks, or one whose name was pointed here while nobody authenticates;
 * WAYSTATION_NOT_OURS: serve it. Errors as waystation_upgrade. */
WAYSTATION_API waystation_status waystation_origin_check(uint32_t relay_id,
                                                         const waystation_request *request,
                                                         waystation_response *response);

/* 1 if the request's client address is one of `operators`, else 0 (also once the relay is gone). */
WAYSTATION_API int waystation_is_operator(uint32_t relay_id, const waystation_request *request);

/* The longest body in bytes that waystation_http takes; 0 once the relay is gone. A server that reads
 * bodies itself, instead of giving `read_body`, reads no more of it than one byte beyond. */
WAYSTATION_API uint64_t waystation_max_body_bytes(uint32_t relay_id);

/* ---- asking and telling -------------------------------------------------------------------- */

/* Sends the appliance's own notification to every push socket of `user`: `json` of `length` bytes
 * is passed on byte for byte. *reached (may be NULL) is the number of sockets whose queue took it.
 * Waits up to `deadline_ms`.
 *
 * Errors: WAYSTATION_INVALID (not a user id, not JSON, longer than max_message_bytes),
 * WAYSTATION_STOPPED, WAYSTATION_TIMEOUT, WAYSTATION_EXHAUSTED. */
WAYSTATION_API waystation_status waystation_push(waystation_relay *relay, const char *user,
                                                 const char *json, size_t length,
                                                 uint32_t deadline_ms, uint64_t *reached);

/* Who is there: the number of `user`'s push sockets, and of groups in which they are present.
 * Either pointer may be NULL. Errors: WAYSTATION_INVALID (not a user id), WAYSTATION_STOPPED,
 * WAYSTATION_TIMEOUT, WAYSTATION_EXHAUSTED. */
WAYSTATION_API waystation_status waystation_presence(waystation_relay *relay, const char *user,
                                                     uint32_t deadline_ms, uint64_t *push_sockets,
                                                     uint64_t *groups);

/* Ends all sockets of `user` with Close 4403. *closed (may be NULL) is their number. Errors as
 * waystation_presence. */
WAYSTATION_API waystation_status waystation_end_sessions(waystation_relay *relay, const char *user,
                                                         uint32_t deadline_ms, uint64_t *closed);

/* What the relay counted since it started, and what is open now. */
typedef struct waystation_figures {
  size_t size; /* sizeof(waystation_figures), set by the caller */
  uint64_t chat_sockets;      /* open now */
  uint64_t push_sockets;      /* open now */
  uint64_t groups;            /* with a socket in them, now */
  uint64_t queued_bytes;      /* waiting in all queues, now */
  uint64_t accepted;          /* sockets taken over */
  uint64_t refused;           /* requests for a socket route that were refused */
  uint64_t messages_chat;     /* delivered in the group */
  uint64_t messages_pushed;   /* push fallbacks that reached a push socket */
  uint64_t messages_undelivered; /* push fallbacks that reached none */
  uint64_t notifications;     /* the appliance's own */
  uint64_t deliveries_dropped;   /* queued for a socket that ended first */
  uint64_t errors_sent;       /* {"error":…} frames */
  uint64_t closed_slow;       /* closed with 4408 */
  uint64_t closed_dead;       /* heard nothing for two ping intervals */
  uint64_t events_lost;       /* not handed to on_event, which was too slow */
  uint64_t audit_state;        /* a waystation_audit_state */
  uint64_t audit_rows_written; /* committed to the audit's file */
  uint64_t audit_rows_lost;    /* counted instead, because they came faster than the disk took them
                                  or it took none; a row says so once it does again */
  uint64_t audit_rows_waiting; /* in memory, now */
  uint64_t audit_lag_ms;       /* how long the oldest of them has been waiting */
  uint64_t audit_file_bytes;   /* what the file takes on the disk, with its log */
  uint64_t log_lines_lost;     /* not handed to on_log, which was too slow */
} waystation_figures;

/* Reads the figures; never waits for the relay. Errors: WAYSTATION_INVALID. */
WAYSTATION_API waystation_status waystation_figures_read(const waystation_relay *relay,
                                                         waystation_figures *figures);

/* Hands to `take` each code with which requests for a socket route are refused, such as
 * "unauthenticated", and how often it was since the relay started: some twenty, always the same, also
 * those that were not needed yet. It returns not 0 to go on; `code` is static storage. Never waits
 * for the relay. Errors: WAYSTATION_INVALID, WAYSTATION_EXHAUSTED. */
WAYSTATION_API waystation_status waystation_refusals_read(
    const waystation_relay *relay,
    int (*take)(void *user_data, const char *code, uint64_t count), void *user_data);

/* What is counted in parts. */
typedef enum waystation_tally {
  WAYSTATION_TALLY_SOCKETS_REFUSED = 0,    /* by the code of the refusal; as waystation_refusals_read */
  WAYSTATION_TALLY_HTTP_REFUSED = 1,       /* by waystation_http and waystation_origin_check, by the
                                              code of the refusal */
  WAYSTATION_TALLY_DELIVERIES_DROPPED = 2, /* by why the socket ended: "closed" by its peer or the
                                              network, "slow", "dead", "ended" by an administrator,
                                              "expired", "violation" of the protocol, "going_away",
                                              "failed" for want of memory */
  WAYSTATION_TALLY_ERRORS_SENT = 3         /* {"error":…} frames, by their code */
} waystation_tally;

/* Hands to `take` each part of a tally and how much it came to since the relay started: some two
 * dozen at most, always the same, also those that nothing was counted in yet; later versions may
 * have more. It returns not 0 to go on; `name` is static storage. Never waits for the relay.
 * Errors: WAYSTATION_INVALID (also a tally that there is not), WAYSTATION_EXHAUSTED. */
WAYSTATION_API waystation_status waystation_tally_read(
    const waystation_relay *relay, waystation_tally which,
    int (*take)(void *user_data, const char *name, uint64_t count), void *user_data);

/* ---- tokens --------------------------------------------------------------------------------- */

/* What waystation_token_issue puts into a token. Zero it and set `size`. */
typedef struct waystation_token_request {
  size_t size;               /* sizeof(waystation_token_request) */
  const char *user;          /* `sub`: [0-9a-z]{1,64} */
  const char *scopes;        /* `scope`: "push", "admin" or both, separated by a space; NULL: none */
  uint32_t lifetime_seconds; /* until `exp`; 0: 3600 */
  const char *key_id;        /* which key of the file (`kid`); NULL: the first that can sign */
} waystation_token_request;

/* Signs a token that a relay with these options takes: with a secret or private key of
 * `jwt_key_file`, for `jwt_issuer` and all of `jwt_audience`. For trying a set-up, and for an
 * embedder who has the logins and wants no JWT library. Needs no relay; `auth` may be anything.
 * The token and a NUL go to `token`, which has room for `token_size` bytes: 8192 are always enough.
 *
 * Errors: WAYSTATION_INVALID (`error` names the option or field, its value and what is allowed; or
 * no key of the file can sign; or `token_size` is too small), WAYSTATION_EXHAUSTED. On any error
 * *token is an empty string. `error` may be NULL. */
WAYSTATION_API waystation_status waystation_token_issue(const waystation_options *options,
                                                        const waystation_token_request *request,
                                                        char *token, size_t token_size, char *error,
                                                        size_t error_size);

/* ---- the audit ----------------------------------------------------------------------------- */

/* With `audit_file`, a relay keeps a row for each push fallback, undelivered message and dropped
 * delivery, and for its own notifications: when, from whom, to whom, what became of it, how long it
 * was and the id that the client gave it. Messages delivered in their group make no row.
 *
 * The file is an SQLite database in WAL mode, with mode 0600; it must belong to the caller and be no
 * link. Beside it lie its log (FILE-wal, FILE-shm) and, while a relay writes it, FILE.run-NODE. Two
 * relays may write one file if each has an audit_node of its own, and a second one of the same node is
 * refused; where both have thousands of rows a second, each is better off with a file of its own, since
 * it finds the other's lock and says so. `audit_max_bytes` bounds the file; the log takes up to 16 MiB more under load, and 64 MiB
 * or a quarter of that limit while another process reads without an end; 256 MiB where there is no
 * limit.
 *
 * The relay never waits for it. Rows are gathered for a tenth of a second (for a second, while more
 * than a thousand come in a tenth), then written and synced in one transaction of 50,000 at most. A
 * sudden end, a loss of power included, costs at most the rows of that time and of the writing: some
 * milliseconds more, half a second where tens of thousands come in one. A row of the outcome
 * WAYSTATION_GAP says that it happened. While the disk is full, the file locked, its file system
 * read-only or the file gone, chat goes on, rows wait in memory (16 MiB of it, some 200,000) and are
 * then counted; it is tried again until it works. A damaged file is set aside under a name that says
 * so. Rows that are lost leave a gap, in the next run if not in this one; without a trace but the log
 * they are lost only if nothing could be written beside the file either (a read-only file system),
 * from the start of a run to its end.
 *
 * The functions below read such a file from any process, while a relay writes it or not. A handle
 * is for one thread at a time. `error` may be NULL; it gets one line. */

/* How the writing goes. */
typedef enum waystation_audit_state {
  WAYSTATION_AUDIT_OFF = 0,
  WAYSTATION_AUDIT_STARTING = 1,
  WAYSTATION_AUDIT_OK = 2,
  WAYSTATION_AUDIT_DISK_FULL = 3, /* or a quota, or a limit of the size of files */
  WAYSTATION_AUDIT_LOCKED = 4,    /* another process holds the file's lock */
  WAYSTATION_AUDIT_READ_ONLY = 5, /* the file system, or the file */
  WAYSTATION_AUDIT_HELD = 6,      /* another process reads it without an end */
  WAYSTATION_AUDIT_FAILED = 7     /* anything else; the log says what */
} waystation_audit_state;

typedef struct waystation_audit waystation_audit;

/* Which rows. Zero it and set `size`: every row. */
typedef struct waystation_audit_filter {
  size_t size;      /* sizeof(waystation_audit_filter) */
  int64_t since;    /* ms since 1970 */
  int64_t until;    /* the first that is too late; 0: none is */
  const char *user; /* sender or receiver; NULL or "": anyone, here and below */
  const char *from;
  const char *to;
  uint32_t outcomes; /* 1u << WAYSTATION_PUSHED | …; 0: all. Gaps are always among what is read,
                        whatever the users and outcomes: any row may be what is missing */
} waystation_audit_filter;

typedef struct waystation_audit_row {
  size_t size; /* set by the library */
  int64_t id;
  int64_t at;  /* of a gap: when it began */
  waystation_outcome outcome;
  const char *node;
  const char *group;      /* NULL: the appliance's own notification, or a gap */
  const char *from;       /* NULL likewise */
  const char *to;         /* NULL: a gap */
  const char *message_id; /* NULL: the client gave none */
  uint64_t reached;       /* sockets whose queue took it */
  uint64_t bytes;         /* of the message's value */
  int64_t lost;           /* of a gap: rows that are missing; -1: nobody knows how many */
  int64_t lost_until;     /* of a gap: when it ended */
} waystation_audit_row;

typedef struct waystation_audit_totals {
  size_t size;           /* sizeof(waystation_audit_totals), set by the caller */
  uint64_t pushed;       /* rows of each outcome */
  uint64_t undelivered;
  uint64_t dropped;
  uint64_t gaps;
  uint64_t lost;         /* rows missing in the gaps whose size is known */
  uint64_t unknown_gaps; /* gaps whose size is not */
  int64_t first_at;      /* of rows that are no gaps; 0: there is none */
  int64_t last_at;
} waystation_audit_totals;

/* What waystation_audit_most counts. */
typedef enum waystation_audit_ranking {
  WAYSTATION_AUDIT_MOST_UNDELIVERED = 0, /* users, by undelivered messages to them */
  WAYSTATION_AUDIT_MOST_MISSED = 1,      /* groups, by messages whose receiver was not present */
  WAYSTATION_AUDIT_MOST_DROPPED = 2      /* users, by deliveries to a socket of theirs that were
                                            dropped: a message counts once for each such socket */
} waystation_audit_ranking;

/* Says whether waystation_new would take this `audit_file`, and touches nothing.
 * Errors: WAYSTATION_INVALID (`error` says what is wrong and what would be right). */
WAYSTATION_API waystation_status waystation_audit_check(const char *file, char *error,
                                                        size_t error_size);

/* Opens a file for reading. Errors: WAYSTATION_INVALID (no audit, not the caller's, a newer
 * program's), WAYSTATION_FAILED, WAYSTATION_EXHAUSTED. On any error *audit is NULL. */
WAYSTATION_API waystation_status waystation_audit_open(const char *file, waystation_audit **audit,
                                                       char *error, size_t error_size);

/* NULL is legal. */
WAYSTATION_API void waystation_audit_close(waystation_audit *audit);

/* Hands rows to `take`, oldest first: all of them, or the newest `newest` where that is not 0. All
 * of them in constant memory, and without keeping the writer from anything, however slow `take` is.
 * It returns not 0 to go on. What the row points to lives until it returns.
 * Errors: WAYSTATION_INVALID (a filter), WAYSTATION_FAILED, WAYSTATION_EXHAUSTED. */
WAYSTATION_API waystation_status waystation_audit_read(
    waystation_audit *audit, const waystation_audit_filter *filter, uint64_t newest,
    int (*take)(void *user_data, const waystation_audit_row *row), void *user_data, char *error,
    size_t error_size);

/* Counts rows. Errors as waystation_audit_read. */
WAYSTATION_API waystation_status waystation_audit_total(waystation_audit *audit,
                                                        const waystation_audit_filter *filter,
                                                        waystation_audit_totals *totals,
                                                        char *error, size_t error_size);

/* The first `limit` of a ranking, the highest first. Errors as waystation_audit_read. */
WAYSTATION_API waystation_status waystation_audit_most(
    waystation_audit *audit, const waystation_audit_filter *filter,
    waystation_audit_ranking ranking, uint64_t limit,
    int (*take)(void *user_data, const char *name, uint64_t count), void *user_data, char *error,
    size_t error_size);

/* Takes rows out, in small steps, and gives their room back, while a relay writes the file or not.
 * What they held is overwritten. A gap goes only where the filter names no user and no outcomes, or
 * WAYSTATION_GAP among them, and where the whole of it lies within the filter's time: one that lasts
 * beyond it tells of what stays. Nothing is kept of what was taken out, not even that it was.
 * *rows (may be NULL) is how many went, also on an error. Errors as waystation_audit_open. */
WAYSTATION_API waystation_status waystation_audit_prune(const char *file,
                                                        const waystation_audit_filter *filter,
                                                        uint64_t *rows, char *error,
                                                        size_t error_size);

#ifdef __cplusplus
}
#endif

#endif
