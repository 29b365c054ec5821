package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/keys"
	"github.com/loopmesh/loopmesh/cmd/node/admin"
)

const keysLong = `A closed cluster: each node proves with keys of its own who it is, and the server
lets it send in that name only.

  1. On one machine, 'keys init DIR' makes the folder DIR. DIR/authority signs keys;
     it stays there, and whoever can read it can make keys.
  2. Copy DIR/nodes/NAME to the machine of node NAME, and nothing else.
  3. There, 'start --keys FOLDER' uses it. The name and the cluster are in it.

Rights say what a node may do on the others: call:GLOB, timer:GLOB, write,
spawn:PROFILE, admin. Without --allow it has call:*, timer:* and write.`

// newKeys is the noun "keys": the folder of a closed cluster and what changes in it.
// These commands work on files alone and ask no node: the machine that makes keys need
// not reach the cluster, and should not run a part of it. What they change takes effect
// when a changed folder, or its account.jwt, is copied to a node that runs; nodes look at
// their files each second.
//
// Invariant: a private key is made here and written once, for one node, readable by its
// owner only (package keys refuses a folder that others can read).
func newKeys() *cobra.Command {
	cmd := group("keys", "make, change and take back the keys of a closed cluster", newKeysInit(), newKeysAdd(), newKeysRotate(), newKeysRevoke(), newKeysLs())
	cmd.Long = keysLong
	return cmd
}

// nodeFlag reads NAME=HOST,HOST or NAME.
func nodeFlag(text string, voter bool, allow []string, valid time.Duration) keys.Node {
	name, hosts, _ := strings.Cut(text, "=")
	n := keys.Node{Name: name, Voter: voter, Grants: allow, Valid: valid}
	if hosts != "" {
		n.Hosts = strings.Split(hosts, ",")
	}
	return n
}

// newKeysInit makes the authority and the first nodes' keys. It refuses a folder that
// has an authority: a second one would be another cluster that no node can join.
func newKeysInit() *cobra.Command {
	var cluster string
	var voters, nodes []string
	cmd := &cobra.Command{
		Use: "init DIR", Short: "make the key folder of a new cluster", Args: named,
		Long: "Makes DIR with the authority of a new cluster and the keys of its first nodes. A voter is a node that runs a NATS server;\n" +
			"behind = stand the names and IP addresses at which others reach it, without ports.",
		Example: "  loopmesh keys init ./keys --cluster shop --voter n1=10.0.0.1 --voter n2=10.0.0.2 --voter n3=10.0.0.3 --node n4",
		RunE: func(cmd *cobra.Command, args []string) error {
			var all []keys.Node
			for _, v := range voters {
				all = append(all, nodeFlag(v, true, nil, 0))
			}
			for _, n := range nodes {
				all = append(all, nodeFlag(n, false, nil, 0))
			}
			if err := keys.Init(args[0], cluster, all...); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "made %s for cluster %s\n", args[0], cluster)
			fmt.Fprintf(out, "  %s stays here: it makes keys\n", filepath.Join(args[0], "authority"))
			for _, n := range all {
				printCopy(out, args[0], n.Name)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&cluster, "cluster", "loopmesh", "name of the cluster")
	cmd.Flags().StringArrayVar(&voters, "voter", nil, "NAME=HOST[,HOST]: a node that runs a server; once for each")
	cmd.Flags().StringArrayVar(&nodes, "node", nil, "NAME: another node; once for each")
	return cmd
}

// printCopy says what a person has to do next; nothing here copies to other machines.
func printCopy(out io.Writer, dir, name string) {
	fmt.Fprintf(out, "  copy %s to the machine of %s\n", filepath.Join(dir, "nodes", name), name)
}

// newKeysAdd makes keys for one more node. Nobody else has to learn of it: a server
// accepts whoever shows a statement that the authority has signed.
func newKeysAdd() *cobra.Command {
	var voter bool
	var allow, hosts []string
	var valid time.Duration
	cmd := &cobra.Command{
		Use: "add DIR NAME", Short: "make keys for one more node", Args: named,
		Long:    "Makes keys for one more node. Nothing that runs has to be changed or restarted.",
		Example: "  loopmesh keys add ./keys n5 --allow 'call:math.*' --allow write",
		RunE: func(cmd *cobra.Command, args []string) error {
			if valid < 0 {
				return usageError{fmt.Errorf("--valid is %v; it must be positive", valid)}
			}
			if err := keys.Add(args[0], keys.Node{Name: args[1], Voter: voter, Hosts: hosts, Grants: allow, Valid: valid}); err != nil {
				return err
			}
			printCopy(cmd.OutOrStdout(), args[0], args[1])
			return nil
		},
	}
	cmd.Flags().BoolVar(&voter, "voter", false, "it runs a NATS server of the cluster")
	cmd.Flags().StringSliceVar(&hosts, "host", nil, "names and IP addresses at which others reach its server")
	cmd.Flags().StringArrayVar(&allow, "allow", nil, "a right on other nodes, or \"none\"; once for each (default call:*, timer:*, write)")
	cmd.Flags().DurationVar(&valid, "valid", 0, "how long the keys are accepted, as in 720h (default a year)")
	return cmd
}

// newKeysRotate makes new keys beside the old ones. Both are accepted until "revoke
// --old", or the node would be cut off between the copy and the moment it looks.
func newKeysRotate() *cobra.Command {
	return &cobra.Command{
		Use: "rotate DIR NAME", Short: "make new keys for a node; the old ones stay valid", Args: named,
		Long: "Makes new keys for a node, with the same rights. Copy its folder again: a node that runs notices within a second and moves\n" +
			"to the new keys without losing a call. Then take the old ones back with 'keys revoke --old'.",
		Example: "  loopmesh keys rotate ./keys n4",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := keys.Rotate(args[0], args[1]); err != nil {
				return err
			}
			printCopy(cmd.OutOrStdout(), args[0], args[1])
			fmt.Fprintf(cmd.OutOrStdout(), "  then: %s keys revoke %s %s --old\n", calledAs(os.Args[0]), args[0], args[1])
			return nil
		},
	}
}

// newKeysRevoke writes the keys of a node into the list of those that no server accepts.
// The list is dated and signed, and the newer one counts, so it is enough to give it to
// one node: the nodes show it to each other.
func newKeysRevoke() *cobra.Command {
	var old bool
	cmd := &cobra.Command{
		Use: "revoke DIR NAME", Short: "take the keys of a node back", Args: named,
		Long: "Takes the keys of a node back. The list of revoked keys is account.jwt, in the folder of every node in DIR: copy it into\n" +
			"the folder of one node that runs, and that node tells the others. Servers cut the node off within two seconds.",
		Example: "  loopmesh keys revoke ./keys n4\n  loopmesh keys revoke ./keys n4 --old   # after keys rotate: all but the newest",
		RunE: func(cmd *cobra.Command, args []string) error {
			count, err := keys.Revoke(args[0], args[1], old)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "revoked %d keys of %s\n", count, args[1])
			if count > 0 {
				fmt.Fprintf(out, "  copy %s into the folder of a node that runs, if this is not its folder\n", filepath.Join(args[0], "authority", "account.jwt"))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&old, "old", false, "only the keys from before the last 'keys rotate'")
	return cmd
}

func newKeysLs() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "ls DIR", Short: "list the nodes of a key folder", Args: named,
		Example: "  loopmesh keys ls ./keys -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			_, nodes, err := keys.List(args[0])
			if err != nil {
				return err
			}
			list := &admin.List[keys.Issued]{Kind: "NodeKeysList", APIVersion: admin.APIVersion, Time: time.Now(), Items: nodes}
			return show(cmd, &o, list,
				column[keys.Issued]{"NODE", func(n keys.Issued) string { return n.Name }},
				column[keys.Issued]{"VOTER", func(n keys.Issued) string { return yesNo(n.Voter) }},
				column[keys.Issued]{"HOSTS", func(n keys.Issued) string { return strings.Join(n.Hosts, ",") }},
				column[keys.Issued]{"RIGHTS", rightsOf},
				column[keys.Issued]{"KEYS", func(n keys.Issued) string { return strconv.Itoa(n.Keys) }},
				column[keys.Issued]{"REVOKED", func(n keys.Issued) string { return yesNo(n.Revoked) }},
			)
		},
	}
	o.flag(cmd)
	return cmd
}

// rightsOf shows the rights in the words of --allow, the default ones spelled out.
func rightsOf(n keys.Issued) string {
	g, err := keys.ParseGrants(n.Grants)
	if err != nil {
		return err.Error()
	}
	return g.String()
}

func yesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}
