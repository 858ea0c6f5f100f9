/* A program with logins of its own gains chat. README.md in this folder shows how to build and run
 * it:
 *
 *     own_login [PORT [PAGE]]
 *
 * The program has a page, a login form and sessions in memory. The lines marked "chat" are all that
 * Waystation adds. The relay asks `identify` about each socket, with the cookie that the pages
 * have.
 */
#define _POSIX_C_SOURCE 200809L /* for sigwait and clock_gettime, in strict C */

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <civetweb.h>
#include <waystation/civetweb.h> /* chat */

enum { SESSION_LIMIT = 64, SESSION_SECONDS = 12 * 3600, ID_BYTES = 16 };

struct session {
  char id[2 * ID_BYTES + 1];
  char user[65];
  int64_t expires_ms; /* since 1970; 0: unused */
};

static struct session sessions[SESSION_LIMIT];
static pthread_mutex_t sessions_lock = PTHREAD_MUTEX_INITIALIZER;
static const char* page_file = "page.html";
static waystation_relay* relay; /* chat */

/* ---- the login ------------------------------------------------------------------------------- */

/* A real program asks its user database here. */
static int check_password(const char* user, const char* password) {
  char expected[80];
  snprintf(expected, sizeof expected, "%s-demo", user);
  return (strcmp(user, "alice") == 0 || strcmp(user, "bob") == 0) &&
         strcmp(password, expected) == 0;
}

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The session of a request, copied to *found. Returns 0 if there is none. CivetWeb calls this from
 * several threads at once. */
static int find_session(const struct mg_connection* conn, struct session* found) {
  char id[sizeof found->id];
  int at, is_found = 0;
  const char* cookie = mg_get_header(conn, "Cookie");
  if (cookie == NULL || mg_get_cookie(cookie, "session", id, sizeof id) != 2 * ID_BYTES) return 0;
  pthread_mutex_lock(&sessions_lock);
  for (at = 0; at < SESSION_LIMIT && !is_found; at++) {
    if (sessions[at].expires_ms <= now_ms() || strcmp(sessions[at].id, id) != 0) continue;
    *found = sessions[at];
    is_found = 1;
  }
  pthread_mutex_unlock(&sessions_lock);
  return is_found;
}

/* Replaces the oldest session if there is no room. Returns 0 if the system has no random bytes. */
static int create_session(const char* user, struct session* created) {
  unsigned char bytes[ID_BYTES];
  int at, oldest = 0;
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return 0;
  for (at = 0; at < ID_BYTES; at++) snprintf(created->id + 2 * at, 3, "%02x", bytes[at]);
  snprintf(created->user, sizeof created->user, "%s", user);
  created->expires_ms = now_ms() + SESSION_SECONDS * (int64_t)1000;
  pthread_mutex_lock(&sessions_lock);
  for (at = 1; at < SESSION_LIMIT; at++) {
    if (sessions[at].expires_ms < sessions[oldest].expires_ms) oldest = at;
  }
  sessions[oldest] = *created;
  pthread_mutex_unlock(&sessions_lock);
  return 1;
}

static void end_session(const char* id) {
  int at;
  pthread_mutex_lock(&sessions_lock);
  for (at = 0; at < SESSION_LIMIT; at++) {
    if (strcmp(sessions[at].id, id) == 0) memset(&sessions[at], 0, sizeof sessions[at]);
  }
  pthread_mutex_unlock(&sessions_lock);
}

/* ---- chat ------------------------------------------------------------------------------------ */

/* Who opens this socket? The same session as for the pages. */
static int identify(void* unused, const waystation_request* request, waystation_identity* who) {
  struct session session;
  (void)unused;
  if (!find_session((struct mg_connection*)request->connection, &session)) return 0; /* 401 */
  memcpy(who->user, session.user, sizeof who->user);
  who->expires_at = session.expires_ms; /* the relay closes the user's sockets then, with 4401 */
  return 1;
}

/* A notification to each tab in which the user is logged in. */
static void notify(const char* user) {
  static const char notice[] = "{\"title\":\"New login of your account\"}";
  waystation_push(relay, user, notice, sizeof notice - 1, 1000, NULL);
}

/* ---- the pages ------------------------------------------------------------------------------- */

static int respond(struct mg_connection* conn, const char* status, const char* fields,
                   const char* body) {
  mg_printf(conn,
            "HTTP/1.1 %s\r\n%sContent-Type: application/json\r\nCache-Control: no-store\r\n"
            "Content-Length: %u\r\n\r\n%s",
            status, fields, (unsigned)strlen(body), body);
  return 200;
}

static int is_post(const struct mg_connection* conn) {
  return strcmp(mg_get_request_info(conn)->request_method, "POST") == 0;
}

static int show_page(struct mg_connection* conn, void* unused) {
  (void)unused;
  mg_send_mime_file(conn, page_file, "text/html; charset=utf-8");
  return 200;
}

static int show_session(struct mg_connection* conn, void* unused) {
  struct session session;
  char body[96];
  (void)unused;
  if (!find_session(conn, &session)) return respond(conn, "401 Unauthorized", "", "{}");
  snprintf(body, sizeof body, "{\"user\":\"%s\"}", session.user);
  return respond(conn, "200 OK", "", body);
}

static int log_in(struct mg_connection* conn, void* unused) {
  char form[512], user[65], password[65], cookie[160];
  struct session session;
  size_t size = 0;
  int read;
  (void)unused;
  if (!is_post(conn)) return respond(conn, "405 Method Not Allowed", "Allow: POST\r\n", "{}");
  while (size < sizeof form && (read = mg_read(conn, form + size, sizeof form - size)) > 0)
    size += (size_t)read;
  if (mg_get_var(form, size, "username", user, sizeof user) <= 0 ||
      mg_get_var(form, size, "password", password, sizeof password) <= 0 ||
      !check_password(user, password)) {
    return respond(conn, "401 Unauthorized", "", "{}");
  }
  if (!create_session(user, &session)) return respond(conn, "503 Service Unavailable", "", "{}");
  notify(user); /* chat */
  /* With HTTPS, add Secure. */
  snprintf(cookie, sizeof cookie,
           "Set-Cookie: session=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%d\r\n", session.id,
           SESSION_SECONDS);
  return respond(conn, "200 OK", cookie, "{}");
}

static int log_out(struct mg_connection* conn, void* unused) {
  struct session session;
  (void)unused;
  if (!is_post(conn)) return respond(conn, "405 Method Not Allowed", "Allow: POST\r\n", "{}");
  if (find_session(conn, &session)) {
    end_session(session.id);
    waystation_end_sessions(relay, session.user, 1000, NULL); /* chat */
  }
  return respond(conn, "200 OK", "Set-Cookie: session=; Path=/; Max-Age=0\r\n", "{}");
}

int main(int argc, char** argv) {
  char port[32];
  const char* settings[] = {"listening_ports", port, "request_timeout_ms", "5000", NULL};
  struct mg_callbacks callbacks;
  struct mg_context* ctx;
  struct mg_server_port opened;
  sigset_t ending;
  int received;

  waystation_options options; /* chat */
  waystation_error error = WAYSTATION_ERROR_INIT;

  /* sigwait() below receives the signals. Block them before other threads start. */
  sigemptyset(&ending);
  sigaddset(&ending, SIGINT);
  sigaddset(&ending, SIGTERM);
  sigprocmask(SIG_BLOCK, &ending, NULL);

  waystation_options_init(&options, sizeof options); /* chat: five lines */
  options.auth = WAYSTATION_AUTH_CALLBACK;
  options.identify = identify;
  if (waystation_new(&options, &relay, &error) != WAYSTATION_OK) {
    fprintf(stderr, "own_login: %s\n", error.message);
    return 1;
  }

  snprintf(port, sizeof port, "127.0.0.1:%s", argc > 1 ? argv[1] : "8080");
  if (argc > 2) page_file = argv[2];
  memset(&callbacks, 0, sizeof callbacks);
  mg_init_library(0);
  ctx = mg_start(&callbacks, NULL, settings);
  if (ctx == NULL) {
    fprintf(stderr, "own_login: cannot listen on %s\n", port);
    waystation_free(relay); /* chat */
    return 1;
  }
  waystation_civetweb_attach(relay, ctx); /* chat: /ws/chat/<group>/ and /push/<user>/ */
  mg_set_request_handler(ctx, "/$", show_page, NULL);
  mg_set_request_handler(ctx, "/session$", show_session, NULL);
  mg_set_request_handler(ctx, "/login$", log_in, NULL);
  mg_set_request_handler(ctx, "/logout$", log_out, NULL);

  mg_get_server_ports(ctx, 1, &opened);
  printf("http://127.0.0.1:%d\n", opened.port);
  fflush(stdout);

  sigwait(&ending, &received);
  waystation_drain(relay, 1000); /* chat: closes the open sockets with 1001 */
  mg_stop(ctx);
  waystation_free(relay); /* chat: after mg_stop, because log_in and log_out use it */
  mg_exit_library();
  return 0;
}
