/* Echoes on one epoll loop: the floor that nobody goes below. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static char buf[256 * 1024];

static void add(int ep, int fd) {
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
}

static void answer(int fd) {
	ssize_t n = read(fd, buf, sizeof buf);
	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			close(fd);
		return;
	}
	for (ssize_t done = 0; done < n;) { /* the load never fills a socket */
		ssize_t w = write(fd, buf + done, n - done);
		if (w < 0 && errno != EAGAIN) {
			close(fd);
			return;
		}
		if (w > 0)
			done += w;
	}
}

int main(void) {
	int ln = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	setsockopt(ln, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(ln, (void *)&at, len) || listen(ln, 1024) || getsockname(ln, (void *)&at, &len)) {
		perror("listen");
		return 1;
	}
	printf("127.0.0.1:%d\n", ntohs(at.sin_port));
	fflush(stdout);
	int ep = epoll_create1(0);
	add(ep, ln);
	for (;;) {
		struct epoll_event evs[256];
		int n = epoll_wait(ep, evs, 256, -1);
		for (int i = 0; i < n; i++) {
			if (evs[i].data.fd != ln) {
				answer(evs[i].data.fd);
				continue;
			}
			int fd = accept4(ln, NULL, NULL, SOCK_NONBLOCK);
			if (fd >= 0) {
				setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
				add(ep, fd);
			}
		}
	}
}
