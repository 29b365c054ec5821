package broker

import (
	"errors"
	"net/url"
	"strings"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
)

// CheckURLs refuses what cannot be an address of NATS, without telling the
// passwords in it. field is where the addresses come from.
func CheckURLs(field, urls string) error {
	for s := range strings.SplitSeq(urls, ",") {
		if err := checkURL(field, s); err != nil {
			return err
		}
	}
	return nil
}

func checkURL(field, s string) error {
	u, err := readURL(s)
	switch {
	case err != nil:
		return fault.Config("%s has an address that cannot be read (%v): use nats://host:port", field, err)
	case u.Hostname() == "":
		return fault.Config("%s has an address without a host: use nats://host:port", field)
	}
	switch u.Scheme {
	case "nats", "tls", "ws", "wss":
		return nil
	}
	return fault.Config("%s is %q: use nats://host:port, or the schemes tls, ws and wss", field, u.Redacted())
}

// readURL reads one address; its errors do not repeat it.
func readURL(s string) (*url.URL, error) {
	s = strings.TrimSpace(s)
	if !strings.Contains(s, "://") {
		s = "nats://" + s
	}
	u, err := url.Parse(s)
	var e *url.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	return u, err
}

// WithoutPasswords is a list of addresses for people.
func WithoutPasswords(urls string) string {
	var out []string
	for s := range strings.SplitSeq(urls, ",") {
		if u, err := readURL(s); err == nil {
			out = append(out, u.Redacted())
		}
	}
	return strings.Join(out, ",")
}
