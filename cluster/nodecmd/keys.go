package nodecmd

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/cluster/keys"
)

// The commands about keys. They change files alone and ask no node: the machine that
// makes keys need not reach the cluster, and is safer when it does not. The folder,
// its files and what each of them proves are described in package keys; this file
// turns flags into its calls and says what to copy where.
//
// How a change reaches the cluster: new keys of a node, when its folder is copied to
// its machine (nodes look at their files twice a second); revoked keys, when
// account.jwt is copied to any one node, since engines show each other the newest
// signed list.
//
// Invariant: a private key is made once, for one node, and written for its owner only
// (package keys refuses a file that others can read).

const keysLong = `Makes the keys of a closed cluster: each node proves with keys of its own who it is,
and the server lets it send in that name only.

  1. On one machine, 'keys init DIR' makes the folder DIR. DIR/authority signs keys;
     it stays there, and whoever can read it can make keys.
  2. Copy DIR/nodes/NAME to the machine of node NAME, and nothing else.
  3. There, 'start --keys FOLDER' uses it. The name and the cluster are in it.

Rights say what a node may do on the others: call:GLOB, publish:GLOB, timer:GLOB, write,
spawn:PROFILE, admin. Without --allow it has call:*, publish:*, timer:* and
write.`

// newKeys groups the commands that work on a key folder.
func newKeys() *cobra.Command {
	cmd := group("keys", "make, renew and revoke the keys of a closed cluster", newKeysInit(), newKeysAdd(), newKeysRotate(), newKeysRevoke(), newKeysLs())
	cmd.Long = keysLong
	return cmd
}

// nodeFlag reads --voter and --node: NAME=HOST,HOST or NAME alone. What a name or a
// host may be is checked by package keys.
func nodeFlag(text string, voter bool, allow []string, valid time.Duration) keys.Node {
	name, hosts, _ := strings.Cut(text, "=")
	n := keys.Node{Name: name, Voter: voter, Grants: allow, Valid: valid}
	if hosts != "" {
		n.Hosts = strings.Split(hosts, ",")
	}
	return n
}

// newKeysInit makes the authority and the first nodes' keys. It refuses a folder that
// has an authority: a second one would sign for another cluster, and nodes with old
// and new keys could not talk to each other.
func newKeysInit() *cobra.Command {
	var cluster string
	var voters, nodes []string
	cmd := &cobra.Command{
		Use: "init DIR", Short: "make the key folder of a new cluster", Args: exactArgs,
		Long: "Makes DIR with the authority of a new cluster and the keys of its first nodes. A voter is a node that runs a NATS server;\n" +
			"behind the = stand the names and IP addresses at which others reach it, without ports.",
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
	cmd.Flags().StringArrayVar(&voters, "voter", nil, "NAME=HOST[,HOST]: a node that runs a server; once for each node")
	cmd.Flags().StringArrayVar(&nodes, "node", nil, "NAME: a node without a server; once for each node")
	return cmd
}

// printCopy says what a person has to do next. Nothing here copies to other machines:
// how that is done safely, the user knows better than a default.
func printCopy(out io.Writer, dir, name string) {
	fmt.Fprintf(out, "  copy %s to the machine of %s\n", filepath.Join(dir, "nodes", name), name)
}

// newKeysAdd makes keys for one more node. No other node has to learn of it: a server
// accepts whoever shows a statement that the cluster's account has signed. A node
// whose keys were revoked as a whole can be added again, with new keys.
func newKeysAdd() *cobra.Command {
	var voter bool
	var allow, hosts []string
	var valid time.Duration
	cmd := &cobra.Command{
		Use: "add DIR NAME", Short: "make keys for one more node", Args: exactArgs,
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
	cmd.Flags().BoolVar(&voter, "voter", false, "the node runs a NATS server of the cluster")
	cmd.Flags().StringSliceVar(&hosts, "host", nil, "name or IP address at which others reach its server; once for each, or with commas")
	cmd.Flags().StringArrayVar(&allow, "allow", nil, "a right on other nodes, once for each right, or \"none\" (default call:*, publish:*, timer:*, write)")
	cmd.Flags().DurationVar(&valid, "valid", 0, "how long the keys are accepted, as in 720h (default a year)")
	return cmd
}

// newKeysRotate makes new keys beside the old ones. Both are accepted until "revoke
// --old": with the old ones revoked at once, the node would be cut off until its
// folder is copied.
func newKeysRotate() *cobra.Command {
	return &cobra.Command{
		Use: "rotate DIR NAME", Short: "make new keys for a node; the old ones stay valid", Args: exactArgs,
		Long: "Makes new keys for a node, with the same rights. Copy its folder again: a node that runs notices within a second and moves\n" +
			"to the new keys without losing a call. Then revoke the old ones with 'keys revoke --old'.",
		Example: "  loopmesh keys rotate ./keys n4",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := keys.Rotate(args[0], args[1]); err != nil {
				return err
			}
			printCopy(cmd.OutOrStdout(), args[0], args[1])
			fmt.Fprintf(cmd.OutOrStdout(), "  then: %s keys revoke %s %s --old\n", calledAs(os.Args[0], cmd.Root().Name()), args[0], args[1])
			return nil
		},
	}
}

// newKeysRevoke puts the keys of a node on the list of those that no server accepts.
// The list is signed and dated, and the newer one counts, so it is enough to give it
// to one node. Zero revoked keys (there are no old ones) is no error: the state is
// the wanted one.
func newKeysRevoke() *cobra.Command {
	var old bool
	cmd := &cobra.Command{
		Use: "revoke DIR NAME", Short: "revoke the keys of a node", Args: exactArgs,
		Long: "Revokes the keys of a node. The list of revoked keys is account.jwt, in the folder of every node in DIR: copy it into\n" +
			"the folder of one node that runs, and that node tells the others. Servers cut the node off within two seconds.",
		Example: "  loopmesh keys revoke ./keys n4\n  loopmesh keys revoke ./keys n4 --old   # after keys rotate: all but the newest",
		RunE: func(cmd *cobra.Command, args []string) error {
			count, err := keys.Revoke(args[0], args[1], old)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "revoked keys of %s: %d\n", args[1], count)
			if count > 0 {
				fmt.Fprintf(out, "  copy %s into the folder of a node that runs, if this is not its folder\n", filepath.Join(args[0], "authority", "account.jwt"))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&old, "old", false, "revoke only the keys from before the last 'keys rotate'")
	return cmd
}

// newKeysLs lists the nodes of a key folder. KEYS above 1 means that keys were
// rotated and the older ones not yet revoked.
func newKeysLs() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "ls DIR", Short: "list the nodes of a key folder", Args: exactArgs,
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

// rightsOf shows rights in the words of --allow. A node without --allow shows the
// default ones, so that nobody has to know them.
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
