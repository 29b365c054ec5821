package nodecmd

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/keys"
)

// The flags of start that say which NATS server a node uses and who the node is
// there. They are apart from start.go because they are most of its flags and belong
// together: a server of one's own (serverOptions) or a login at somebody else's
// (loginOptions).

// startLong answers the question that decides everything else about a node: where is
// its NATS server? The cases exclude each other, and cluster.Start refuses mixtures.
const startLong = `Runs one node until Ctrl-C or SIGTERM: then the node takes no new calls, gives those
that run 10 seconds, tells the others that it leaves, and ends. A second Ctrl-C ends the
process at once.

Messages go through a NATS server. Where it is:
  neither --join nor --nats-url  inside this process. Others can --join it; without
                                 it they cannot talk to each other.
  --voter --routes a,b,c         inside this process, as one of 3 or 5 voters. The
                                 cluster goes on while more than half of them live.
                                 Every voter gets the same list.
  --join a,b,c                   inside other nodes. Give all voters: when one is gone
                                 the node moves to another within milliseconds.
  --nats-url URL                 somewhere else.

Nothing listens beyond this machine without --keys (see 'loopmesh keys') or --insecure.`

// serverOptions are the flags of start about the embedded server, and about keys,
// which both an embedded server and a node that joins one need.
type serverOptions struct {
	voter, insecure               bool
	routes, allow                 []string
	routeListen, storeDir, folder string
	storeSync                     storeSync
}

// storeSync is the value of --store-sync: how long a write may wait for the disk.
type storeSync struct{ within time.Duration }

// syncAlways is the word for a store that answers when what it was told is on the disk. Why a
// word, where cluster.Config has a zero: "0s" reads like the opposite of what it costs.
const syncAlways = "always"

func (s *storeSync) String() string {
	if s.within == 0 {
		return syncAlways
	}
	return s.within.String()
}

// Set takes the word, or a duration; 0s is the word.
func (s *storeSync) Set(text string) error {
	if text == syncAlways {
		s.within = 0
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return fmt.Errorf("it takes %q, or a duration such as 500ms", syncAlways)
	}
	s.within = d
	return nil
}

// Type is how help names the value.
func (*storeSync) Type() string { return "duration|" + syncAlways }

// flags adds the flags of the embedded server.
func (o *serverOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.voter, "voter", false, "run a server that is one of --routes, the servers of one NATS cluster")
	f.StringSliceVar(&o.routes, "routes", nil, "host:port at which the servers of the voters reach each other: 1, 3 or 5, the same list on every voter")
	f.StringVar(&o.routeListen, "route-listen", "", "which of --routes is this node (default: the one whose host is its name or an address of this machine)")
	f.StringVar(&o.storeDir, "store", "", "folder for data that has to survive the node; each node needs a folder of its own")
	f.Var(&o.storeSync, "store-sync", "for how long what is stored may be in memory before the disk has it, at most 1m: a loss of power loses that much, a killed process nothing")
	f.StringVar(&o.folder, "keys", "", "folder with the keys of this node, made by 'loopmesh keys'")
	f.BoolVar(&o.insecure, "insecure", false, "listen beyond this machine without --keys: whoever reaches the port can do everything")
	f.StringArrayVar(&o.allow, "allow", nil, "without --keys: a right of every other node on this one, once for each right (see 'loopmesh keys')")
}

// apply only copies: what the values mean, and which of them go together,
// cluster.Start checks, once for all programs.
func (o *serverOptions) apply(cfg *cluster.Config) {
	cfg.Voter, cfg.Routes, cfg.RouteListen, cfg.StoreDir = o.voter, o.routes, o.routeListen, o.storeDir
	cfg.StoreSync, cfg.Keys, cfg.Insecure, cfg.Allow = o.storeSync.within, o.folder, o.insecure, o.allow
}

// namedByKeys reports whether the folder is one node's own (nodes/NAME), whose keys
// say the node's name. With the whole key folder the name has to be given, or is the
// machine's.
func namedByKeys(folder string) bool {
	if folder == "" {
		return false
	}
	_, err := keys.Find(folder, "")
	return err == nil
}

// loginOptions are the flags of start about who the node is at an external NATS. Why
// there is no --password: every user of the machine can read the command line of
// every process; a file with the right mode only its owner can.
type loginOptions struct {
	credentials, nkey, user, passwordFile string
	ca, cert, key                         string
	pair                                  *atomic.Pointer[tls.Certificate] // made by tls; nil: no certificate
}

func (o *loginOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.credentials, "credentials", "", "NATS credentials file for --nats-url and --join")
	f.StringVar(&o.nkey, "nkey", "", "file with the seed of an nkey for --nats-url")
	f.StringVar(&o.user, "user", "", "user name for --nats-url")
	f.StringVar(&o.passwordFile, "password-file", "", "file with the password of --user")
	f.StringVar(&o.ca, "tls-ca", "", "file with the certificates of the authorities to trust at --nats-url")
	f.StringVar(&o.cert, "tls-cert", "", "file with this node's certificate for --nats-url")
	f.StringVar(&o.key, "tls-key", "", "file with the key of --tls-cert")
}

// apply reads the files that the flags name. They are read here and not later, so
// that a wrong path is an error of the command line, with exit code 2. A newline at
// the end of the password file is the editor's and not the password's.
func (o *loginOptions) apply(cfg *cluster.Config) error {
	cfg.Credentials, cfg.NKey, cfg.User = o.credentials, o.nkey, o.user
	if o.passwordFile != "" {
		raw, err := os.ReadFile(o.passwordFile)
		if err != nil {
			return usageError{fmt.Errorf("--password-file: %w", err)}
		}
		if cfg.Password = strings.TrimRight(string(raw), "\r\n"); cfg.Password == "" {
			return usageError{fmt.Errorf("--password-file: %s is empty: it holds the password of --user", o.passwordFile)}
		}
	}
	var err error
	cfg.TLS, err = o.tls()
	return err
}

// tls makes the configuration for an external NATS; nil means that the URL decides
// (tls://). Without --tls-ca the authorities of the machine are trusted. The certificate is
// asked for at each handshake, so that a reload can put another one in its place.
func (o *loginOptions) tls() (*tls.Config, error) {
	if o.ca == "" && o.cert == "" && o.key == "" {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.ca != "" {
		raw, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, usageError{fmt.Errorf("--tls-ca: %w", err)}
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(raw) {
			return nil, usageError{fmt.Errorf("--tls-ca: there is no certificate in %s", o.ca)}
		}
	}
	if (o.cert == "") != (o.key == "") {
		return nil, usageError{fmt.Errorf("--tls-cert and --tls-key go together")}
	}
	if o.cert != "" {
		pair, err := tls.LoadX509KeyPair(o.cert, o.key)
		if err != nil {
			return nil, usageError{fmt.Errorf("--tls-cert: %w", err)}
		}
		o.pair = &atomic.Pointer[tls.Certificate]{}
		o.pair.Store(&pair)
		current := o.pair
		out.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return current.Load(), nil }
	}
	return out, nil
}
