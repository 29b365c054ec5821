#define _GNU_SOURCE
/* Echoes on one epoll loop: the limit that nobody passes. What a socket does not
 * take is kept, and nothing is read from a connection meanwhile. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct conn {
	int fd;
	char *kept;
	size_t from, to;
};

static char buf[256 * 1024];
static int ep;

static void watch(struct conn *c, int op, uint32_t events) {
	struct epoll_event ev = {.events = events, .data.ptr = c};
	epoll_ctl(ep, op, c->fd, &ev);
}

static void end(struct conn *c) {
	close(c->fd);
	free(c->kept);
	free(c);
}

static void flush(struct conn *c) {
	ssize_t w = write(c->fd, c->kept + c->from, c->to - c->from);
	if (w < 0 && errno != EAGAIN)
		return end(c);
	if (w > 0 && (c->from += w) == c->to) {
		free(c->kept);
		c->kept = NULL;
		watch(c, EPOLL_CTL_MOD, EPOLLIN);
	}
}

static void answer(struct conn *c) {
	ssize_t n = read(c->fd, buf, sizeof buf), w;
	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			end(c);
		return;
	}
	if ((w = write(c->fd, buf, n)) < 0 && errno != EAGAIN)
		return end(c);
	if (w < n) {
		w = w < 0 ? 0 : w;
		c->kept = memcpy(malloc(n - w), buf + w, n - w);
		c->from = 0, c->to = n - w;
		watch(c, EPOLL_CTL_MOD, EPOLLOUT);
	}
}

int main(void) {
	int ln = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	struct conn listener = {.fd = ln};
	signal(SIGPIPE, SIG_IGN);
	setsockopt(ln, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(ln, (void *)&at, len) || listen(ln, 1024) || getsockname(ln, (void *)&at, &len)) {
		perror("listen");
		return 1;
	}
	printf("127.0.0.1:%d\n", ntohs(at.sin_port));
	fflush(stdout);
	ep = epoll_create1(0);
	watch(&listener, EPOLL_CTL_ADD, EPOLLIN);
	for (;;) {
		struct epoll_event evs[256];
		int n = epoll_wait(ep, evs, 256, -1);
		for (int i = 0; i < n; i++) {
			struct conn *c = evs[i].data.ptr;
			if (c == &listener) {
				int fd = accept4(ln, NULL, NULL, SOCK_NONBLOCK);
				if (fd < 0)
					continue;
				setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
				c = calloc(1, sizeof *c);
				c->fd = fd;
				watch(c, EPOLL_CTL_ADD, EPOLLIN);
			} else if (c->kept) {
				flush(c);
			} else {
				answer(c);
			}
		}
	}
}
