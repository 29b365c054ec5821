//go:build foreign

package lookup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode/internal/testloop"
)

// askPython reads one question a line, [host, service, family, type, proto,
// flags] or [address, port, flags], and answers each in a line: what
// CPython, that is the C library, says of it.
const askPython = `
import json, socket, sys
for line in sys.stdin:
    q = json.loads(line)
    try:
        if len(q) == 3:
            print(" ".join(socket.getnameinfo((q[0], q[1]), q[2])))
            continue
        host, service, *rest = q
        got = socket.getaddrinfo(host or None, service or None, *rest)
        print(", ".join("%d %d %d %s %d %d %s" % (int(f), int(t), p, a[0], a[1], a[3] if len(a) > 3 else 0, n) for f, t, p, n, a in got))
    except socket.gaierror as e:
        print(e.errno)
`

func python(t *testing.T, questions []any) []string {
	t.Helper()
	var in strings.Builder
	for _, q := range questions {
		testloop.Must(t, json.NewEncoder(&in).Encode(q))
	}
	cmd := exec.Command("python3", "-c", askPython)
	cmd.Stdin = strings.NewReader(in.String())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal("python3 is needed: ", err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

func TestGetaddrinfoForeign(t *testing.T) {
	t.Run("DNS-01 DNS-04 DNS-06 the same answers as CPython on this machine", func(t *testing.T) {
		var questions []any
		var cases []lookupCase
		for _, host := range []string{
			"127.0.0.1", "::1", "localhost", "1", "0x7f.1", "010.1", "127.1", "256.1.1.1", "1.2.3.4.5", "08", "::ffff:1.2.3.4",
			"fe80::1%lo", "fe80::1%1", "2001:db8::1%3", "2001:db8::1%lo", "fe80::1%nope", "127.0.0.1%lo", "no-such-host.invalid",
		} {
			for _, service := range []string{"80", "", "http", "domain", "no-such-service"} {
				for _, h := range []Hints{
					{}, stream, {Type: syscall.SOCK_DGRAM}, {Type: syscall.SOCK_RAW}, {Type: 99}, {Family: inet, Type: syscall.SOCK_STREAM},
					{Family: inet6, Type: syscall.SOCK_STREAM}, {Family: 99}, {Proto: syscall.IPPROTO_UDP}, {Proto: 99},
					{Type: syscall.SOCK_STREAM, Proto: syscall.IPPROTO_UDP}, hints(0, AICanonName), hints(0, AINumericHost),
					hints(0, AINumericServ), hints(inet6, AIV4Mapped), hints(inet6, AIV4Mapped|AIAll), hints(0, 1<<20),
				} {
					cases = append(cases, lookupCase{host: host, service: service, hints: h})
					questions = append(questions, []any{host, service, h.Family, h.Type, h.Proto, h.Flags})
				}
			}
		}
		want := python(t, questions)
		for i, c := range cases {
			got, err := Getaddrinfo(context.Background(), c.host, c.service, c.hints)
			s := foreign(got, err)
			if err != nil && c.service == "no-such-service" && want[i] == "-8" {
				continue // both are wrong: the library names the service first, we the host
			}
			if s != want[i] {
				t.Errorf("%q %q %+v: got %s, the C library %s", c.host, c.service, c.hints, s, want[i])
			}
		}
	})
	t.Run("DNS-09 the same names as CPython", func(t *testing.T) {
		var questions []any
		for _, addr := range []string{"127.0.0.1", "::1"} {
			for _, port := range []int{80, 443, 53, 514, 12345, 0} {
				for _, flags := range []NIFlags{NINumericHost, NINumericServ | NINumericHost, NINumericHost | NIDgram, 1 << 20} {
					questions = append(questions, []any{addr, port, flags})
				}
			}
		}
		for i, want := range python(t, questions) {
			q := questions[i].([]any)
			at := netip.AddrPortFrom(netip.MustParseAddr(q[0].(string)), uint16(q[1].(int)))
			host, service, err := Getnameinfo(context.Background(), at, q[2].(NIFlags))
			got := host + " " + service
			if err != nil {
				got = foreign(nil, err)
			}
			if got != want {
				t.Errorf("%v: got %s, the C library %s", q, got, want)
			}
		}
	})
}

// foreign is an answer as askPython prints it.
func foreign(list []AddrInfo, err error) string {
	var e *Error
	if errors.As(err, &e) {
		return fmt.Sprint(int(e.Code))
	}
	var out []string
	for _, a := range list {
		out = append(out, fmt.Sprintf("%d %d %d %s %d %d %s", a.Family, a.Type, a.Proto, a.Addr.Addr().WithZone(""), a.Addr.Port(), a.ScopeID, a.CanonName))
	}
	return strings.Join(out, ", ")
}
