/* Echoes on libuv: reads into one buffer, tries to write at once, and queues what
 * is left. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static char shared[64 * 1024];
static uv_loop_t *loop;

static void give(uv_handle_t *h, size_t hint, uv_buf_t *b) {
	(void)h, (void)hint;
	*b = uv_buf_init(shared, sizeof shared);
}

static void gone(uv_handle_t *h) { free(h); }

static void heard(uv_stream_t *s, ssize_t n, const uv_buf_t *b);

struct rest {
	uv_write_t req;
	char bytes[];
};

static void written(uv_write_t *w, int status) {
	uv_stream_t *s = w->handle;
	free(w);
	if (status == 0 && !uv_is_closing((uv_handle_t *)s))
		uv_read_start(s, give, heard);
}

static void heard(uv_stream_t *s, ssize_t n, const uv_buf_t *b) {
	if (n < 0) {
		uv_close((uv_handle_t *)s, gone);
		return;
	}
	if (n == 0)
		return;
	uv_buf_t out = uv_buf_init(b->base, n);
	int w = uv_try_write(s, &out, 1);
	if (w == n)
		return;
	if (w < 0 && w != UV_EAGAIN) {
		uv_close((uv_handle_t *)s, gone);
		return;
	}
	w = w < 0 ? 0 : w;
	struct rest *r = malloc(sizeof *r + n - w);
	memcpy(r->bytes, b->base + w, n - w);
	out = uv_buf_init(r->bytes, n - w);
	uv_read_stop(s);
	uv_write(&r->req, s, &out, 1, written);
}

static void came(uv_stream_t *server, int status) {
	if (status < 0)
		return;
	uv_tcp_t *c = malloc(sizeof *c);
	uv_tcp_init(loop, c);
	if (uv_accept(server, (uv_stream_t *)c)) {
		uv_close((uv_handle_t *)c, gone);
		return;
	}
	uv_tcp_nodelay(c, 1);
	uv_read_start((uv_stream_t *)c, give, heard);
}

int main(void) {
	uv_tcp_t server;
	struct sockaddr_in at;
	int len = sizeof at;
	loop = uv_default_loop();
	uv_tcp_init(loop, &server);
	uv_ip4_addr("127.0.0.1", 0, &at);
	if (uv_tcp_bind(&server, (void *)&at, 0) || uv_listen((uv_stream_t *)&server, 1024, came) || uv_tcp_getsockname(&server, (void *)&at, &len))
		return 1;
	printf("127.0.0.1:%d\n", ntohs(at.sin_port));
	fflush(stdout);
	return uv_run(loop, UV_RUN_DEFAULT);
}
