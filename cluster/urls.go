package cluster

import (
	"errors"
	"net/url"
	"os"
	"strings"
)

// checkURLs refuses what cannot be an address of NATS, without telling the
// passwords in it.
func (c Config) checkURLs() error {
	field := "URL"
	if len(c.Join) > 0 {
		field = "Join"
	}
	if c.URL != "" || len(c.Join) > 0 {
		for s := range strings.SplitSeq(c.urls(), ",") {
			if err := checkURL(field, s); err != nil {
				return err
			}
		}
	}
	if c.Credentials != "" {
		if _, err := os.Stat(c.Credentials); err != nil {
			return badConfig("Credentials: %w", err)
		}
	}
	return nil
}

func checkURL(field, s string) error {
	u, err := readURL(s)
	switch {
	case err != nil:
		return badConfig("%s has an address that cannot be read (%v): use nats://host:port", field, err)
	case u.Hostname() == "":
		return badConfig("%s has an address without a host: use nats://host:port", field)
	}
	switch u.Scheme {
	case "nats", "tls", "ws", "wss":
		return nil
	}
	return badConfig("%s is %q: use nats://host:port, or the schemes tls, ws and wss", field, u.Redacted())
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

// withoutPasswords is urls for people.
func withoutPasswords(urls string) string {
	var out []string
	for s := range strings.SplitSeq(urls, ",") {
		if u, err := readURL(s); err == nil {
			out = append(out, u.Redacted())
		}
	}
	return strings.Join(out, ",")
}
