package nodecmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/process"
)

// The profiles of a node: files of --profile, a key of the configuration file as any other
// flag. A file is YAML, one profile under each name, in the words of process.Profile:
//
//	backup:
//	  argv: [/usr/bin/rsync, -a, "/srv/{what}", "store:/backup/{what}"]
//	  args: {what: "[a-z]+"}
//	  user: backup
//
// Why files of their own, and not a section of the configuration? Its keys are the flags of
// start, so that what one knows of the one holds for the other. And profiles are often the
// same on many nodes, and belong to somebody else than the addresses do. A key that there is
// not is refused with its line: a misspelt user would let the command run as another one.

// maxProfiles is how many a node may offer.
const maxProfiles = 256

// All mistakes of all files are told at once, as those of the configuration are: who mends
// them one by one starts the node as often. What only this machine can tell is checked, too:
// whether the program is there, and the user.
//
// readProfiles reads and checks all files. A name that comes twice is a mistake.
func readProfiles(paths []string) (out []process.Profile, err error) {
	where := map[string]string{}
	for _, path := range paths {
		list, wrong := readProfileFile(path)
		if wrong != nil {
			return nil, fileError{wrong}
		}
		for _, p := range list {
			if first, twice := where[p.Name]; twice {
				err = errors.Join(err, fmt.Errorf("%s: profile %q stands in %s already", path, p.Name, first))
			}
			where[p.Name] = path
			if wrong := process.Check(p); wrong != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", path, wrong))
			}
		}
		out = append(out, list...)
	}
	if len(out) > maxProfiles {
		err = errors.Join(err, fmt.Errorf("there are %d profiles; a node offers at most %d", len(out), maxProfiles))
	}
	if err != nil {
		return nil, fileError{err}
	}
	return out, nil
}

// YAML refuses a name that stands twice in one file by itself, with its line.
//
// readProfileFile reads one file, with the profiles in the order of their names.
func readProfileFile(path string) ([]process.Profile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--profile: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("--profile: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("--profile: %s is no file", path)
	case info.Size() > maxConfig:
		return nil, fmt.Errorf("--profile: %s has %d bytes; profiles have at most %d", path, info.Size(), maxConfig)
	}
	in := yaml.NewDecoder(io.LimitReader(f, maxConfig))
	in.KnownFields(true)
	named := map[string]process.Profile{}
	if err := in.Decode(&named); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var out []process.Profile
	for name, p := range named {
		p.Name = name
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b process.Profile) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out, nil
}

// offering is the step of a start that offers the profiles, before another node hears of
// this one. Without profiles there is none, and the node cannot start anything.
func offering(profiles []process.Profile) func(context.Context, *cluster.Node) error {
	return func(_ context.Context, node *cluster.Node) error {
		if len(profiles) == 0 {
			return nil
		}
		return process.Offer(node, profiles...)
	}
}
