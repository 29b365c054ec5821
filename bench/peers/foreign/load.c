/* The load: many connections on one epoll loop that never sleeps, so that what
 * it costs is the same for every server, and waking it costs the server nothing.
 *
 *   load PORT CLIENTS DEPTH SIZE SECONDS MODE RATE
 *
 * MODE closed: each connection has DEPTH messages under way, always.
 * MODE renew:  closed, with one message; the connection is reset after its answer and made anew.
 * MODE open:   RATE messages a second over all connections, sent when they are
 *              due whether or not the server keeps up. A latency counts from the
 *              moment at which the message was due: a server that stalls pays for
 *              every message that should have been sent meanwhile.
 *
 * Before the clock starts each connection has had one answer (not with renew, which
 * measures just that), since thousands of them are accepted first; then the load runs
 * for a tenth of SECONDS that is not counted.
 *
 * Every byte of every answer is compared with what was sent. It prints two lines,
 * one when the clock starts and one when it has stopped:
 *   start
 *   requests seconds p50 p99 p999 max     (microseconds)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LATE = 1 << 14, PATTERN = 1 << 20, BUCKETS = 64 * 64 };

struct client {
	int fd, writable;
	uint64_t sent, got;    /* bytes */
	uint64_t asked, heard; /* messages; due[] holds the ones between them */
	uint64_t next;         /* open: when the next message is due */
	int64_t *due;
};

static struct sockaddr_in to = {.sin_family = AF_INET};
static int clients, depth, size, renew_each, settling, ring, ep; /* ring: messages under way at most */
static uint64_t interval; /* open: ns between two messages of one connection */
static uint64_t requests, worst, buckets[BUCKETS];
static char pattern[2 * PATTERN], in[256 * 1024];

static uint64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static void fail(const char *what) {
	fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "wrong");
	exit(1);
}

/* Buckets of 1/32 of their size: an error of 3 % at most. */
static int bucket(uint64_t ns) {
	if (ns < 64)
		return ns;
	int e = 63 - __builtin_clzll(ns);
	return (e - 5) * 32 + 32 + ((ns >> (e - 5)) & 31);
}

static double value(int b) {
	if (b < 64)
		return b;
	int e = (b - 32) / 32 + 5;
	return (double)((32ull + (b & 31)) << (e - 5));
}

static double quantile(double q) {
	uint64_t seen = 0, want = (uint64_t)(q * requests);
	for (int b = 0; b < BUCKETS; b++)
		if ((seen += buckets[b]) > want)
			return value(b) / 1000;
	return worst / 1000.0;
}

static void begin(struct client *c) {
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
	struct linger reset = {1, 0};
	int one = 1;
	c->sent = c->got = c->asked = c->heard = 0;
	if ((c->fd = socket(AF_INET, SOCK_STREAM, 0)) < 0 || connect(c->fd, (void *)&to, sizeof to))
		fail("connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (renew_each) /* a close that leaves no port waiting behind */
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	if (epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev))
		fail("epoll_ctl");
}

/* push sends what is asked for and not sent yet. */
static void push(struct client *c) {
	while (c->sent < c->asked * size) {
		uint64_t left = c->asked * size - c->sent;
		ssize_t n = send(c->fd, pattern + c->sent % PATTERN, left < PATTERN ? left : PATTERN, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			fail("send");
		c->sent += n;
	}
}

static void ask(struct client *c, uint64_t due) {
	if (c->asked - c->heard >= (uint64_t)ring)
		fail("the server is too far behind the open load");
	c->due[c->asked++ % ring] = due;
}

static void fill(struct client *c) {
	uint64_t t = now();
	while (c->asked - c->heard < (uint64_t)depth)
		ask(c, t);
	push(c);
}

static void answered(struct client *c, uint64_t t) {
	for (; c->heard < c->asked && c->got >= (c->heard + 1) * size; c->heard++) {
		uint64_t took = t - c->due[c->heard % ring];
		buckets[bucket(took)]++;
		worst = took > worst ? took : worst;
		requests++;
	}
}

static void hear(struct client *c) {
	for (;;) {
		ssize_t n = recv(c->fd, in, sizeof in, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		errno = n == 0 ? 0 : errno;
		if (n <= 0)
			fail("the server closed the connection");
		for (ssize_t done = 0; done < n;) {
			size_t at = c->got % PATTERN, m = (size_t)(n - done) < PATTERN ? n - done : PATTERN;
			if (memcmp(in + done, pattern + at, m)) {
				errno = 0;
				fail("an answer differs from what was sent");
			}
			c->got += m;
			done += m;
		}
		answered(c, now());
		if (renew_each && c->heard) {
			close(c->fd);
			begin(c);
			fill(c);
			return;
		}
		if (!interval && !settling)
			fill(c);
		if ((size_t)n < sizeof in)
			return; /* edge-triggered: the rest comes with the next event */
	}
}

/* turn looks once at what the kernel has. */
static void turn(void) {
	struct epoll_event evs[256];
	int m = epoll_wait(ep, evs, 256, 0);
	for (int i = 0; i < m; i++) {
		struct client *c = evs[i].data.ptr;
		if (evs[i].events & EPOLLOUT)
			push(c);
		if (evs[i].events & ~EPOLLOUT)
			hear(c);
	}
}

/* settle has each connection answered once. */
static void settle(struct client *all) {
	uint64_t last = now() + 60000000000u;
	settling = 1;
	for (int i = 0; i < clients; i++) {
		ask(&all[i], now());
		push(&all[i]);
	}
	while (requests < (uint64_t)clients) {
		turn();
		if (now() > last)
			fail("a minute was not enough for one answer on each connection");
	}
	settling = 0;
}

/* work keeps the load up until a moment, and returns when it stopped. */
static uint64_t work(struct client *all, uint64_t end) {
	uint64_t t;
	while ((t = now()) < end) {
		turn();
		for (int i = 0; interval && i < clients; i++) {
			struct client *c = &all[i];
			if (c->next > t)
				continue;
			for (; c->next <= t; c->next += interval)
				ask(c, c->next);
			push(c);
		}
	}
	return t;
}

static void forget(void) {
	requests = worst = 0;
	memset(buckets, 0, sizeof buckets);
}

int main(int n, char **arg) {
	if (n != 8)
		fail("usage: load PORT CLIENTS DEPTH SIZE SECONDS closed|renew|open RATE");
	to.sin_port = htons(atoi(arg[1]));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	clients = atoi(arg[2]), depth = atoi(arg[3]), size = atoi(arg[4]);
	renew_each = !strcmp(arg[6], "renew");
	if (!strcmp(arg[6], "open"))
		interval = (uint64_t)(1e9 * clients / atof(arg[7]));
	ring = interval ? LATE : depth;
	for (size_t i = 0; i < PATTERN; i++)
		pattern[i] = pattern[i + PATTERN] = (char)(i * 2654435761u >> 13);
	ep = epoll_create1(0);
	struct client *all = calloc(clients, sizeof *all);
	for (int i = 0; i < clients; i++) {
		all[i].due = malloc(ring * sizeof *all[i].due);
		begin(&all[i]);
	}
	if (!renew_each)
		settle(all);
	uint64_t begun = now(), during = (uint64_t)(atof(arg[5]) * 1e9);
	for (int i = 0; i < clients; i++) {
		all[i].next = begun + interval * i / clients;
		if (!interval)
			fill(&all[i]);
	}
	work(all, begun + during / 10);
	forget();
	puts("start");
	fflush(stdout);
	uint64_t start = now(), end = work(all, start + during);
	printf("%llu %.6f %.2f %.2f %.2f %.2f\n", (unsigned long long)requests, (end - start) / 1e9,
		quantile(.5), quantile(.99), quantile(.999), worst / 1000.0);
	fflush(stdout);
	getchar(); /* the connections stay until the caller has seen what it wants to see */
}
