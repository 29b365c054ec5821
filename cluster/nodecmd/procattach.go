package nodecmd

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// A process of a profile has two ids. Its child is NODE/proc/procs/PID, as every child of
// every loop: that is what lists, signals and events use. Who starts and attaches knows it as
// NODE/PROFILE/NUMBER, which no other process gets while its node lives, as a PID may. attach
// takes both, so that an id can be taken from wherever it stands; the first one is looked up.

// attachment is the request for the process that an id names.
func (o *runOptions) attachment(cmd *cobra.Command, id string) (q admin.RunRequest, err error) {
	part := strings.Split(id, "/")
	if len(part) == 4 && part[2] == "procs" {
		if id, err = o.processOf(cmd, id); err != nil {
			return q, err
		}
		part = strings.Split(id, "/")
	}
	q.NoStdin = true
	if len(part) == 3 {
		q.On, q.Profile = part[0], part[1]
		q.Attach, _ = strconv.ParseUint(part[2], 10, 64) // 0 is none
	}
	if q.Attach == 0 {
		return q, usageError{fmt.Errorf("%q is not the id of a process: write it as \"loopmesh proc ls\" or \"loopmesh proc run --detach\" prints it", id)}
	}
	return q, nil
}

// processOf asks what a child process is to who starts and attaches.
func (o *runOptions) processOf(cmd *cobra.Command, id string) (string, error) {
	if o.timeout <= 0 {
		return "", usageError{fmt.Errorf("--timeout is %v; it must be positive", o.timeout)}
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
	defer cancel()
	client, err := o.client(ctx)
	if err != nil {
		return "", err
	}
	defer client.Close()
	list, err := client.Children(ctx)
	if err != nil {
		return "", err
	}
	for _, c := range list.Items {
		if c.ID != id {
			continue
		}
		if c.Process == "" {
			return "", &admin.Error{Kind: admin.Refused, Message: fmt.Sprintf("%q was not started by a profile", id), Hint: "only its own program has its output; \"loopmesh proc signal\" reaches it"}
		}
		return c.Process, nil
	}
	return "", notListed("process", id, list.Partial)
}

// attachable suggests the processes that attach would take.
func attachable(ctx context.Context, c *admin.Client) (ids []string) {
	list, err := c.Children(ctx)
	if err != nil {
		return nil
	}
	for _, p := range list.Items {
		if p.Keep && p.Owner == "" {
			ids = append(ids, p.Process+"\t"+childState(p))
		}
	}
	return ids
}
