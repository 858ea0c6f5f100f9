/* A minimal WebSocket client for programs that test an installed library: loopback only, short
 * texts only, a timeout of one minute. Every failure exits the program. */
#ifndef TALK_H
#define TALK_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static inline void talk_fail(const char *what) {
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static inline struct sockaddr_in talk_loopback(int port) {
  struct sockaddr_in address;
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons((unsigned short)port);
  return address;
}

static inline int talk_connect(int port) {
  struct sockaddr_in address = talk_loopback(port);
  struct timeval timeout = {60, 0};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    talk_fail("cannot connect");
  }
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  return fd;
}

static inline void talk_write(int fd, const void *bytes, size_t length) {
  if (send(fd, bytes, length, MSG_NOSIGNAL) != (ssize_t)length) talk_fail("cannot send");
}

static inline void talk_read(int fd, void *bytes, size_t length) {
  if (recv(fd, bytes, length, MSG_WAITALL) != (ssize_t)length) {
    talk_fail("nothing arrived within one minute, or the connection ended");
  }
}

/* Sends an upgrade request for a route. */
static inline void talk_request(int fd, int port, const char *path) {
  char request[512];
  int length = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n",
                        path, port);
  talk_write(fd, request, (size_t)length);
}

/* Reads the response head and returns its status. */
static inline int talk_status(int fd) {
  char head[2048];
  size_t length = 0;
  while (length < 4 || memcmp(head + length - 4, "\r\n\r\n", 4) != 0) {
    if (length == sizeof head - 1) talk_fail("response: the head has no end");
    talk_read(fd, head + length, 1);
    length++;
  }
  head[length] = '\0';
  if (strncmp(head, "HTTP/1.1 ", 9) != 0) talk_fail("response: not HTTP");
  return atoi(head + 9);
}

static inline int talk_open(int port, const char *path) {
  int fd = talk_connect(port);
  int status;
  talk_request(fd, port, path);
  status = talk_status(fd);
  if (status != 101) {
    fprintf(stderr, "%s was answered with %d\n", path, status);
    exit(1);
  }
  return fd;
}

static inline void talk_send(int fd, const char *text) {
  unsigned char frame[132] = {0x81};
  size_t length = strlen(text);
  if (length > 125) talk_fail("text too long for this client");
  frame[1] = (unsigned char)(0x80 | length); /* masked with zeros */
  memcpy(frame + 6, text, length);
  talk_write(fd, frame, 6 + length);
}

static inline void talk_expect(int fd, const char *expected) {
  unsigned char head[2];
  char text[126];
  talk_read(fd, head, 2);
  if (head[0] != 0x81 || head[1] > 125) talk_fail("unexpected frame: not a short text");
  talk_read(fd, text, head[1]);
  text[head[1]] = '\0';
  if (strcmp(text, expected) != 0) {
    fprintf(stderr, "expected %s\nreceived %s\n", expected, text);
    exit(1);
  }
}

/* Two users chat, a third gets a push fallback. */
static inline void talk_scene(int port) {
  int alice = talk_open(port, "/ws/chat/alice_bob/?user=alice");
  int bob = talk_open(port, "/ws/chat/alice_bob/?user=bob");
  int carol = talk_open(port, "/push/carol/");
  int dave = talk_open(port, "/ws/chat/carol_dave?user=dave");
  talk_send(bob, "{\"message\":\"hello\",\"to_user\":\"alice\"}");
  talk_expect(alice, "{\"message\":\"hello\"}");
  talk_expect(bob, "{\"message\":\"hello\"}");
  talk_send(dave, "{\"message\":1e400,\"to_user\":\"carol\"}");
  talk_expect(carol, "{\"event\":{\"message\":1e400,\"group\":\"carol_dave\"}}");
  close(alice);
  close(bob);
  close(carol);
  close(dave);
}

#endif
