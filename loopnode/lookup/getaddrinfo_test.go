package lookup

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/internal/testloop"
)

// stub is a resolver with fixed answers that records what it was asked.
type stub struct {
	mu    sync.Mutex
	asked []string

	addrs map[string][]string // "network host"
	ports map[string]int      // "network/service"
	names map[string][]string
	canon string
	err   error
	hold  chan struct{} // when set, answers wait for it or for ctx
}

func (s *stub) note(ctx context.Context, what string) error {
	s.mu.Lock()
	s.asked = append(s.asked, what)
	s.mu.Unlock()
	if s.hold == nil {
		return s.err
	}
	select {
	case <-s.hold:
		return s.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *stub) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func notFound(name string) error {
	return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (s *stub) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if err := s.note(ctx, network+" "+host); err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range s.addrs[host] {
		out = append(out, netip.MustParseAddr(a))
	}
	if out == nil {
		return nil, notFound(host)
	}
	return out, nil
}

func (s *stub) LookupPort(ctx context.Context, network, service string) (int, error) {
	if err := s.note(ctx, network+"/"+service); err != nil {
		return 0, err
	}
	if n, ok := s.ports[network+"/"+service]; ok {
		return n, nil
	}
	return 0, notFound(service)
}

func (s *stub) LookupCNAME(ctx context.Context, host string) (string, error) {
	if err := s.note(ctx, "cname "+host); err != nil || s.canon == "" {
		return "", notFound(host)
	}
	return s.canon, nil
}

func (s *stub) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	if err := s.note(ctx, "ptr "+addr); err != nil {
		return nil, err
	}
	if n := s.names[addr]; n != nil {
		return n, nil
	}
	return nil, notFound(addr)
}

// with runs fn as a task of a loop that asks s.
func (s *stub) with(t *testing.T, fn func(ctx context.Context)) {
	t.Helper()
	pool := loopnode.NewPool(2)
	l, _ := testloop.New(t, func(c *loopnode.Config) { c.Resolver, c.Executor = s, pool })
	_, err := loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(context.Background()), "test", func(ctx context.Context) (int, error) {
		fn(ctx)
		return 0, nil
	}))
	testloop.Must(t, err)
	testloop.Must(t, pool.Shutdown(context.Background()))
}

// show is answers in one line each, as short as they can be told apart.
func show(list []AddrInfo) string {
	var out []string
	for _, a := range list {
		s := map[int]string{syscall.SOCK_STREAM: "stream", syscall.SOCK_DGRAM: "dgram", syscall.SOCK_RAW: "raw"}[a.Type] + " " + a.Addr.String()
		if (a.Family == syscall.AF_INET) != a.Addr.Addr().Is4() {
			s += " wrong family"
		}
		if a.CanonName != "" {
			s += " " + a.CanonName
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

var stream = Hints{Type: syscall.SOCK_STREAM}

// hints is stream with a family and flags.
func hints(family int, flags AIFlags) Hints {
	return Hints{Family: family, Type: syscall.SOCK_STREAM, Flags: flags}
}

type lookupCase struct {
	host, service string
	hints         Hints
	want          string // answers, or
	code          EAI
}

func (s *stub) check(t *testing.T, cases []lookupCase) {
	t.Helper()
	s.with(t, func(ctx context.Context) {
		for _, c := range cases {
			got, err := Getaddrinfo(ctx, c.host, c.service, c.hints)
			if c.code == 0 && err != nil || c.code != 0 && !errors.Is(err, c.code) {
				t.Errorf("%q %q %+v: error %v", c.host, c.service, c.hints, err)
			}
			if show(got) != c.want {
				t.Errorf("%q %q %+v: got %s, want %s", c.host, c.service, c.hints, show(got), c.want)
			}
		}
	})
}

const (
	inet  = syscall.AF_INET
	inet6 = syscall.AF_INET6
)

func TestGetaddrinfo(t *testing.T) {
	services := map[string]int{"tcp/http": 80, "tcp/domain": 53, "udp/domain": 53}
	t.Run("DNS-01 every form of host, service, type and flag answers as the C library does", func(t *testing.T) {
		s := &stub{
			addrs: map[string][]string{"h": {"::1", "10.0.0.1"}, "four": {"10.0.0.1"}},
			ports: services, canon: "h.example.",
		}
		s.check(t, []lookupCase{
			{host: "127.0.0.1", service: "80", want: "stream 127.0.0.1:80, dgram 127.0.0.1:80, raw 127.0.0.1:80"},
			{host: "::1", service: "80", hints: stream, want: "stream [::1]:80"},
			{host: "127.0.0.1", hints: stream, want: "stream 127.0.0.1:0"},
			{host: "127.0.0.1", service: "http", want: "stream 127.0.0.1:80"},
			{host: "127.0.0.1", service: "domain", want: "stream 127.0.0.1:53, dgram 127.0.0.1:53"},
			{host: "127.0.0.1", service: "80", hints: Hints{Proto: syscall.IPPROTO_UDP}, want: "dgram 127.0.0.1:80"},
			{host: "127.0.0.1", hints: Hints{Type: syscall.SOCK_RAW, Proto: 99}, want: "raw 127.0.0.1:0"},
			{host: "h", service: "80", hints: stream, want: "stream [::1]:80, stream 10.0.0.1:80"},
			{host: "h", service: "http", hints: hints(inet, 0), want: "stream 10.0.0.1:80"},
			{host: "h", service: "80", hints: hints(inet6, 0), want: "stream [::1]:80"},
			{host: "h", service: "80", hints: Hints{Flags: AICanonName, Family: inet6}, want: "stream [::1]:80 h.example, dgram [::1]:80, raw [::1]:80"},
			{host: "127.0.0.1", service: "80", hints: hints(0, AICanonName), want: "stream 127.0.0.1:80 127.0.0.1"},
			{host: "127.0.0.1", service: "80", hints: hints(inet6, AIV4Mapped), want: "stream [::ffff:127.0.0.1]:80"},
			{host: "::ffff:1.2.3.4", service: "80", hints: hints(inet, 0), want: "stream 1.2.3.4:80"},
			{host: "four", service: "80", hints: hints(inet6, AIV4Mapped), want: "stream [::ffff:10.0.0.1]:80"},
			{host: "h", service: "80", hints: hints(inet6, AIV4Mapped), want: "stream [::1]:80"},
			{host: "h", service: "80", hints: hints(inet6, AIV4Mapped|AIAll), want: "stream [::1]:80, stream [::ffff:10.0.0.1]:80"},
			{host: "127.0.0.1", service: "80", hints: hints(inet6, 0), code: EAIAddrFamily},
			{host: "::1", service: "80", hints: hints(inet, 0), code: EAIAddrFamily},
			{host: "h", service: "80", hints: hints(0, AINumericHost), code: EAINoName},
			{host: "h", service: "http", hints: hints(0, AINumericServ), code: EAINoName},
			{code: EAINoName},
			{service: "80", hints: hints(0, AICanonName), code: EAIBadFlags},
			{host: "h", service: "80", hints: hints(0, 1<<20), code: EAIBadFlags},
			{host: "h", service: "80", hints: Hints{Family: 99}, code: EAIFamily},
			{host: "h", service: "80", hints: Hints{Type: 99}, code: EAISockType},
			{host: "h", service: "80", hints: Hints{Type: syscall.SOCK_STREAM, Proto: syscall.IPPROTO_UDP}, code: EAISockType},
			{host: "h", service: "80", hints: Hints{Proto: 99}, code: EAIService},
			{host: "h", service: "80", hints: Hints{Type: syscall.SOCK_RAW}, code: EAIService},
		})
		s.with(t, func(ctx context.Context) {
			got, err := Getaddrinfo(ctx, "::1", "80", Hints{})
			testloop.Must(t, err)
			var protos []int
			var types []string
			for _, a := range got {
				protos = append(protos, a.Proto)
				types = append(types, a.NetAddr().Network())
			}
			testloop.Same(t, protos, []int{syscall.IPPROTO_TCP, syscall.IPPROTO_UDP, 0})
			testloop.Same(t, types, []string{"tcp", "udp", "ip"})
		})
	})
	t.Run("DNS-02 the resolver's order and its repeats are kept", func(t *testing.T) {
		s := &stub{addrs: map[string][]string{"h": {"10.0.0.2", "::1", "10.0.0.1", "10.0.0.2"}}}
		s.check(t, []lookupCase{
			{host: "h", service: "1", hints: stream, want: "stream 10.0.0.2:1, stream [::1]:1, stream 10.0.0.1:1, stream 10.0.0.2:1"},
			{host: "h", service: "1", hints: hints(inet, 0), want: "stream 10.0.0.2:1, stream 10.0.0.1:1, stream 10.0.0.2:1"},
		})
	})
	t.Run("DNS-03 no host is loopback, or every interface to listen on", func(t *testing.T) {
		(&stub{}).check(t, []lookupCase{
			{service: "80", hints: stream, want: "stream 127.0.0.1:80, stream [::1]:80"},
			{service: "80", hints: hints(0, AIPassive), want: "stream 0.0.0.0:80, stream [::]:80"},
			{service: "80", hints: hints(inet6, AIPassive), want: "stream [::]:80"},
			{service: "80", hints: hints(inet, 0), want: "stream 127.0.0.1:80"},
		})
	})
	t.Run("DNS-04 old spellings of IPv4 addresses; a number too long for one is a name", func(t *testing.T) {
		s := &stub{}
		ok := map[string]string{
			"1": "0.0.0.1", "0x7f.1": "127.0.0.1", "127.1": "127.0.0.1", "010.1": "8.0.0.1", "1.2.3": "1.2.0.3",
			"0xffffffff": "255.255.255.255", "<broadcast>": "255.255.255.255", "0": "0.0.0.0", "0X7F.0.0.01": "127.0.0.1",
		}
		for host, want := range ok {
			s.check(t, []lookupCase{{host: host, service: "80", hints: stream, want: "stream " + want + ":80"}})
		}
		if q := s.questions(); len(q) != 0 {
			t.Error("asked", q)
		}
		for _, host := range []string{"0xfffffffff", "256.1.1.1", "1.2.3.4.5", "08", "1.2.3.256", "0x", "1.65536.1", "+1", "0x1_0"} {
			s.check(t, []lookupCase{{host: host, service: "80", hints: stream, code: EAINoName}})
		}
		s.check(t, []lookupCase{{host: "0x" + strings.Repeat("f", 300), service: "80", hints: stream, code: EAINoName}})
	})
	t.Run("DNS-06 each failure carries the library's code and its cause", func(t *testing.T) {
		s := &stub{ports: services}
		s.check(t, []lookupCase{
			{host: "nonexist.invalid", service: "80", code: EAINoName},
			{host: "127.0.0.1", service: "nosuchsvc", code: EAIService},
			{host: "127.0.0.1", service: "http", hints: Hints{Type: syscall.SOCK_DGRAM}, code: EAIService},
			{host: "127.0.0.1", service: "80", hints: Hints{Family: -1}, code: EAIFamily},
		})
		before := len(s.questions())
		bad := []string{strings.Repeat("a", 70) + ".com", "a\x00b", "a\nb", "a b", "a..b", strings.Repeat("a.", 150), "bücher.example"}
		for _, host := range bad {
			s.with(t, func(ctx context.Context) {
				_, err := Getaddrinfo(ctx, host, "80", stream)
				if !errors.Is(err, EAINoName) || !errors.Is(err, loopnode.ErrInvalidArgument) {
					t.Errorf("%q: %v", host, err)
				}
			})
		}
		for _, port := range []string{"70000", "-1", "99999999999999999999", "+80"} {
			s.with(t, func(ctx context.Context) {
				_, err := Getaddrinfo(ctx, "127.0.0.1", port, stream)
				if !errors.Is(err, EAIService) || !errors.Is(err, loopnode.ErrInvalidArgument) {
					t.Errorf("%q: %v", port, err)
				}
			})
		}
		if after := len(s.questions()); after != before {
			t.Error("the resolver was asked about what cannot exist:", s.questions()[before:])
		}
		s.with(t, func(ctx context.Context) {
			_, err := Getaddrinfo(ctx, "nonexist.invalid", "80", stream)
			var e *Error
			var d *net.DNSError
			if !errors.As(err, &e) || e.Code != -2 || !errors.As(err, &d) || !d.IsNotFound {
				t.Error(err)
			}
			s.err = &net.DNSError{Err: "server misbehaving", IsTemporary: true}
			if _, err = Getaddrinfo(ctx, "h", "80", stream); !errors.Is(err, EAIAgain) {
				t.Error(err)
			}
			s.err = errors.New("broken")
			if _, err = Getaddrinfo(ctx, "h", "80", stream); !errors.Is(err, EAIFail) || !errors.Is(err, s.err) {
				t.Error(err)
			}
		})
	})
	t.Run("DNS-08 an address with a port asks neither the resolver nor the executor", func(t *testing.T) {
		l, _ := testloop.New(t, func(c *loopnode.Config) { c.Resolver, c.Executor = noResolver{}, refusing{} })
		for _, host := range []string{"127.0.0.1", "::1", "", "1", "<broadcast>"} {
			if _, err := Getaddrinfo(l.Context(context.Background()), host, "80", stream); err != nil {
				t.Error(host, err)
			}
		}
		h, s, err := Getnameinfo(l.Context(context.Background()), netip.MustParseAddrPort("127.0.0.1:80"), NINumericHost|NINumericServ)
		if h != "127.0.0.1" || s != "80" || err != nil {
			t.Error(h, s, err)
		}
	})
}

// noResolver panics when it is asked.
type noResolver struct{ loopnode.Resolver }

// refusing is an executor that must not be used.
type refusing struct{}

func (refusing) Submit(func()) error            { return errors.New("the executor was used") }
func (refusing) Shutdown(context.Context) error { return nil }

func TestZone(t *testing.T) {
	list, err := net.Interfaces()
	testloop.Must(t, err)
	if len(list) == 0 {
		t.Fatal("this machine has no interface")
	}
	name, index := list[0].Name, uint32(list[0].Index)
	t.Run("DNS-05 the zone of a link-local address becomes its scope", func(t *testing.T) {
		s := &stub{}
		s.with(t, func(ctx context.Context) {
			got, err := Getaddrinfo(ctx, "fe80::1%"+name, "80", stream)
			if err != nil || len(got) != 1 || got[0].ScopeID != index || got[0].Addr.Addr().Zone() != name {
				t.Error(got, err)
			}
			for _, host := range []string{"fe80::1%7", "2001:db8::1%7"} {
				if got, err = Getaddrinfo(ctx, host, "80", stream); err != nil || got[0].ScopeID != 7 {
					t.Error(host, got, err)
				}
			}
			for _, host := range []string{"fe80::1%nope", "2001:db8::1%" + name, "127.0.0.1%" + name} {
				if got, err = Getaddrinfo(ctx, host, "80", stream); !errors.Is(err, EAINoName) {
					t.Error(host, got, err)
				}
			}
		})
	})
}

func TestLookupWaits(t *testing.T) {
	t.Run("DNS-07 a look-up does not hold the loop and ends with its caller", func(t *testing.T) {
		s := &stub{hold: make(chan struct{})}
		s.with(t, func(ctx context.Context) {
			k := loopnode.CreateTask(ctx, "lookup", func(ctx context.Context) ([]AddrInfo, error) {
				return Getaddrinfo(ctx, "h", "80", stream)
			})
			turns := 0
			for len(s.questions()) == 0 {
				testloop.Must(t, loopnode.Sleep(ctx, 0))
				turns++
			}
			if turns == 0 {
				t.Error("the loop stood still")
			}
			k.Cancel()
			if _, err := k.Await(ctx); !errors.Is(err, loopnode.ErrCancelled) {
				t.Error(err)
			}
		}) // the executor's shutdown waits for the resolver: its ctx ended
	})
	t.Run("DNS-07 closing the loop under a look-up is safe", func(t *testing.T) {
		s := &stub{hold: make(chan struct{})}
		pool := loopnode.NewPool(1)
		l, log := testloop.New(t, func(c *loopnode.Config) { c.Resolver, c.Executor = s, pool })
		done := make(chan error, 1)
		k := loopnode.CreateTask(l.Context(context.Background()), "lookup", func(ctx context.Context) (int, error) {
			_, err := Getaddrinfo(ctx, "h", "80", stream)
			done <- err
			return 0, err
		})
		for len(s.questions()) == 0 {
			testloop.Must(t, l.RunOnce(0))
		}
		testloop.Must(t, l.Close())
		if err := <-done; !errors.Is(err, loopnode.ErrLoopClosed) {
			t.Error(err)
		}
		testloop.Must(t, pool.Shutdown(context.Background()))
		if k.Done() && k.Exception() == nil {
			t.Error("it has a result")
		}
		if !strings.Contains(log.String(), "pending") {
			t.Error("the lost task was not told of")
		}
	})
	t.Run("a goroutine without a task blocks, a callback is refused", func(t *testing.T) {
		s := &stub{addrs: map[string][]string{"h": {"10.0.0.1"}}}
		l, _ := testloop.New(t, func(c *loopnode.Config) { c.Resolver = s })
		got, err := Getaddrinfo(l.Context(context.Background()), "h", "80", stream)
		if show(got) != "stream 10.0.0.1:80" || err != nil {
			t.Error(got, err)
		}
		l.CallSoon(func() { _, err = Getaddrinfo(l.Context(context.Background()), "h", "80", stream) })
		testloop.Must(t, l.RunOnce(0))
		if !errors.Is(err, loopnode.ErrWouldBlock) {
			t.Error(err)
		}
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // the mark of a loop's goroutine, which programs may use, too
		got, err = Getaddrinfo(l.Context(context.Background()), "h", "80", stream)
		if show(got) != "stream 10.0.0.1:80" || err != nil {
			t.Error(got, err)
		}
		s.hold = make(chan struct{})
		ctx, cancel := context.WithCancel(l.Context(context.Background()))
		cancel()
		if _, err = Getaddrinfo(ctx, "h", "80", stream); !errors.Is(err, loopnode.ErrCancelled) {
			t.Error(err)
		}
	})
	t.Run("another task's ctx is refused", func(t *testing.T) {
		s := &stub{}
		s.with(t, func(ctx context.Context) {
			_, err := loopnode.RunInExecutor(ctx, nil, func() (int, error) {
				_, err := Getaddrinfo(ctx, "h", "80", stream)
				return 0, err
			}).Await(ctx)
			if !errors.Is(err, loopnode.ErrWrongGoroutine) {
				t.Error(err)
			}
		})
	})
}

func TestGetnameinfo(t *testing.T) {
	at := netip.MustParseAddrPort
	t.Run("DNS-09 a numeric address gets its names, or stays a number", func(t *testing.T) {
		s := &stub{names: map[string][]string{"10.0.0.1": {"one.example.", "two.example."}}}
		s.with(t, func(ctx context.Context) {
			for _, c := range []struct {
				addr          string
				flags         NIFlags
				host, service string
				code          EAI
			}{
				{addr: "10.0.0.1:9", flags: NINumericServ, host: "one.example", service: "9"},
				{addr: "10.0.0.2:9", flags: NINumericServ, host: "10.0.0.2", service: "9"},
				{addr: "[::1]:443", flags: NINumericHost | NINumericServ, host: "::1", service: "443"},
				{addr: "[fe80::1%7]:443", flags: NINumericHost | NINumericServ, host: "fe80::1%7", service: "443"},
				{addr: "10.0.0.1:0", flags: NINumericHost, host: "10.0.0.1", service: "0"},
				{addr: "10.0.0.2:9", flags: NINameReqd, code: EAINoName},
				{addr: "10.0.0.2:9", flags: NINameReqd | NINumericHost, code: EAINoName},
				{addr: "10.0.0.2:9", flags: 1 << 20, code: EAIBadFlags},
			} {
				h, n, err := Getnameinfo(ctx, at(c.addr), c.flags)
				if h != c.host || n != c.service || c.code == 0 && err != nil || c.code != 0 && !errors.Is(err, c.code) {
					t.Error(c, h, n, err)
				}
			}
			if _, _, err := Getnameinfo(ctx, netip.AddrPort{}, 0); !errors.Is(err, EAIFamily) {
				t.Error(err)
			}
			s.err = &net.DNSError{Err: "busy", IsTimeout: true}
			if _, _, err := Getnameinfo(ctx, at("10.0.0.1:1"), 0); !errors.Is(err, EAIAgain) {
				t.Error(err)
			}
		})
	})
	t.Run("the list of services", func(t *testing.T) {
		list := "# comment\nhttp 80/tcp www # web\nsyslog\t514/udp\nshell 514/tcp cmd\nbroken\n"
		for port, want := range map[string]string{"80/tcp": "http", "514/udp": "syslog", "514/tcp": "shell", "80/udp": "", "8/tcp": ""} {
			if got := serviceName(strings.NewReader(list), port); got != want {
				t.Error(port, got)
			}
		}
	})
	t.Run("only families of this machine", func(t *testing.T) {
		n := func(s string) net.Addr { ip, n, _ := net.ParseCIDR(s); n.IP = ip; return n }
		for want, have := range map[string][]net.Addr{
			"ip4": {n("127.0.0.1/8"), n("::1/128"), n("10.0.0.1/8")},
			"ip6": {n("fd00::1/64")},
			"ip":  {n("127.0.0.1/8")},
		} {
			if got := configured(have, nil); got != want {
				t.Error(got, want)
			}
		}
	})
}
