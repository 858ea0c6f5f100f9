/* A C program outside Waystation's tree with its own minimal web server. It parses a request,
 * describes it in the library's struct and hands over the socket. Its own clients then chat
 * through the relay. */
#include <stdint.h>
#include <string.h>

#include <waystation/waystation.h>

#include "talk.h"

/* Splits a request in place. Returns the number of header fields, or -1 if the request is
 * malformed. */
static int parse(char *text, waystation_request *request, waystation_header *headers, int capacity) {
  int count = 0;
  char *end;
  char *line = strstr(text, "\r\n");
  if (line == NULL) return -1;
  *line = '\0';
  request->method = text;
  if ((end = strchr(text, ' ')) == NULL) return -1;
  *end++ = '\0';
  request->target = end;
  if ((end = strchr(end, ' ')) == NULL || strncmp(end, " HTTP/", 6) != 0) return -1;
  *end = '\0';
  request->version = end + 6;
  for (line += 2; (end = strstr(line, "\r\n")) != NULL && end != line; line = end + 2) {
    char *colon = strchr(line, ':');
    *end = '\0';
    if (colon == NULL || count == capacity) return -1;
    *colon = '\0';
    headers[count].name = line;
    headers[count].value = colon + 1 + strspn(colon + 1, " ");
    count++;
  }
  return count;
}

/* Serves one request on an accepted connection. Returns the response's status. */
static int serve(waystation_relay *relay, int fd, int port) {
  waystation_request request;
  waystation_response response;
  waystation_header headers[16];
  struct sockaddr_in peer;
  socklen_t length = sizeof peer;
  char text[2048];
  size_t read = 0;
  int count;
  int status;

  while (read < 4 || memcmp(text + read - 4, "\r\n\r\n", 4) != 0) {
    if (read == sizeof text - 1) return -1;
    talk_read(fd, text + read++, 1);
  }
  text[read] = '\0';
  memset(&request, 0, sizeof request);
  request.size = sizeof request;
  count = parse(text, &request, headers, 16);
  if (count < 0 || getpeername(fd, (struct sockaddr *)&peer, &length) != 0) return -1;
  request.headers = headers;
  request.header_count = (size_t)count;
  request.remote_address = "127.0.0.1";
  request.remote_port = ntohs(peer.sin_port);
  request.local_port = (uint16_t)port;
  request.descriptor = fd;

  memset(&response, 0, sizeof response);
  response.size = sizeof response;
  if (waystation_upgrade(waystation_id(relay), &request, &response) != WAYSTATION_OK) return -1;
  if (response.action == WAYSTATION_REPLY) talk_write(fd, response.bytes, response.length);
  status = response.status;
  waystation_response_clear(&response);
  close(fd);
  return status;
}

/* Sends an upgrade request for a route. Returns the client's descriptor after it read the
 * response head. */
static int open_route(waystation_relay *relay, int listener, int port, const char *path, int expected) {
  int client = talk_connect(port);
  int status;
  talk_request(client, port, path);
  status = serve(relay, accept(listener, NULL, NULL), port);
  if (status != expected || talk_status(client) != expected) {
    fprintf(stderr, "%s was answered with %d, not %d\n", path, status, expected);
    exit(1);
  }
  return client;
}

int main(void) {
  struct sockaddr_in address = talk_loopback(0);
  socklen_t length = sizeof address;
  waystation_options options;
  waystation_relay *relay;
  waystation_error error = WAYSTATION_ERROR_INIT;
  int alice, bob, port;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0
      || listen(listener, 8) != 0
      || getsockname(listener, (struct sockaddr *)&address, &length) != 0) {
    talk_fail("cannot listen");
  }
  port = ntohs(address.sin_port);

  waystation_options_init(&options, sizeof options);
  if (waystation_new(&options, &relay, &error) != WAYSTATION_OK) talk_fail(error.message);
  alice = open_route(relay, listener, port, "/ws/chat/alice_bob/?user=alice", 101);
  bob = open_route(relay, listener, port, "/ws/chat/alice_bob/?user=bob", 101);
  close(open_route(relay, listener, port, "/ws/chat/bob_alice/?user=bob", 400));
  talk_send(bob, "{\"message\":\"hello\",\"to_user\":\"alice\"}");
  talk_expect(alice, "{\"message\":\"hello\"}");
  talk_expect(bob, "{\"message\":\"hello\"}");
  waystation_free(relay);
  close(alice);
  close(bob);
  close(listener);
  printf("libwaystation %s: hello arrived\n", waystation_version());
  return 0;
}
