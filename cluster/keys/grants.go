package keys

import (
	"encoding/base64"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Grants are the rights of a node on other nodes. A value does not change; the
// zero value has no rights. Each right is one text:
//
//	call:GLOB      call functions whose names match, with and without an answer
//	timer:GLOB     the same at a later time (CallLater, CallAt)
//	publish:GLOB   publish to topics whose names match (package topics)
//	write          write to connections, close and abort them
//	spawn:PROFILE  start the command that the other node knows under that name
//	admin          stop loops and actors, and whatever else changes a node
//
// A glob is matched as by path.Match: * stands for any text, ? for one character.
type Grants struct{ list []string }

// DefaultGrants are the rights of a node that was given none: it may call, publish, set
// timers and write. It may not start commands and is no admin.
func DefaultGrants() Grants { return Grants{[]string{"call:*", "publish:*", "timer:*", "write"}} }

const (
	maxGrants     = 32  // rights of one node
	maxRight      = 128 // bytes of one right
	maxToken      = 1 << 10
	defaultRights = "d" // token of DefaultGrants
)

// ParseGrants reads rights. None at all are DefaultGrants; the single word "none"
// is no right.
func ParseGrants(rights []string) (Grants, error) {
	switch {
	case len(rights) == 0:
		return DefaultGrants(), nil
	case len(rights) == 1 && rights[0] == "none":
		return Grants{}, nil
	case len(rights) > maxGrants:
		return Grants{}, fmt.Errorf("%w: %d rights, the most is %d", ErrInvalid, len(rights), maxGrants)
	}
	for _, r := range rights {
		if err := checkRight(r); err != nil {
			return Grants{}, err
		}
	}
	list := slices.Clone(rights)
	slices.Sort(list)
	g := Grants{slices.Compact(list)}
	if n := len(g.Token()); n > maxToken { // nobody would read it: a node without any right
		return Grants{}, fmt.Errorf("%w: the rights take %d bytes together, the most is %d: use shorter globs, or fewer", ErrInvalid, n, maxToken)
	}
	return g, nil
}

func checkRight(r string) error {
	kind, glob, has := strings.Cut(r, ":")
	switch kind {
	case "write", "admin":
		if !has {
			return nil
		}
	case "call", "publish", "timer", "spawn":
		if _, err := path.Match(glob, ""); err == nil && glob != "" && len(r) <= maxRight && !strings.ContainsAny(glob, ", \n") {
			return nil
		}
	}
	return fmt.Errorf("%w: %q is no right: use call:GLOB, publish:GLOB, timer:GLOB, write, spawn:PROFILE or admin", ErrInvalid, r)
}

// List are the rights as texts, in order.
func (g Grants) List() []string { return slices.Clone(g.list) }

// String is the rights for people.
func (g Grants) String() string {
	if len(g.list) == 0 {
		return "none"
	}
	return strings.Join(g.list, ",")
}

// Call reports whether the node may call the function.
func (g Grants) Call(function string) bool { return g.has("call", function) }

// Publish reports whether the node may publish to the topic.
func (g Grants) Publish(topic string) bool { return g.has("publish", topic) }

// Timer reports whether the node may call the function at a later time.
func (g Grants) Timer(function string) bool { return g.has("timer", function) }

// Spawn reports whether the node may start the command of that profile.
func (g Grants) Spawn(profile string) bool { return g.has("spawn", profile) }

// Write reports whether the node may write to connections.
func (g Grants) Write() bool { return slices.Contains(g.list, "write") }

// Admin reports whether the node may stop loops and actors.
func (g Grants) Admin() bool { return slices.Contains(g.list, "admin") }

func (g Grants) has(kind, name string) bool {
	return slices.ContainsFunc(g.list, func(r string) bool {
		k, glob, _ := strings.Cut(r, ":")
		if k != kind {
			return false
		}
		if glob == "*" { // the usual one, for each frame: as path.Match, without reading the name twice
			return !strings.Contains(name, "/")
		}
		match, _ := path.Match(glob, name) // a bad glob was refused when it was read
		return match
	})
}

// Token is the rights as one token of a NATS subject. Why in the subject: the
// server lets a node publish under its own token only, so the receiver needs
// neither a list of nodes nor a signature to check.
func (g Grants) Token() string {
	if slices.Equal(g.list, DefaultGrants().list) {
		return defaultRights
	}
	return "x" + base64.RawURLEncoding.EncodeToString([]byte(strings.Join(g.list, ",")))
}

// FromToken reads Token. What it cannot read gives no rights.
func FromToken(token string) Grants {
	if token == defaultRights {
		return DefaultGrants()
	}
	text, ok := strings.CutPrefix(token, "x")
	if !ok || len(token) > maxToken {
		return Grants{}
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) == 0 {
		return Grants{}
	}
	g, err := ParseGrants(strings.Split(string(raw), ","))
	if err != nil {
		return Grants{}
	}
	return g
}
