package nodecmd

import (
	"context"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/cluster/durable"
)

// Dead letters are work that somebody was promised and that nobody does any more: whatever
// else is well, a person has to look at them. So any number of them is a finding, and there
// is no limit as a flag: whoever has looked requeues them, and the finding is gone.
//
// The store gives them one after another, among the marks of commands that are done; with
// hundreds of thousands of these that takes longer than a check may. Then nothing is known,
// and the finding says that: "no dead letters" would be a guess.

// lettersTime bounds the question, so that it takes no time away from the others.
const lettersTime = 3 * time.Second

// readLetters asks for the dead letters of all queues.
func (l *look) readLetters(ctx context.Context, question func(context.Context, string) (*admin.List[admin.Command], error)) {
	ctx, cancel := context.WithTimeout(ctx, lettersTime)
	defer cancel()
	list, err := question(ctx, "")
	if err != nil {
		l.lettersLate = true
		return
	}
	l.letters = *list
}

// judgeTimers: calls for later that do not run any more. Their owners count them, so the
// question costs nothing, however many calls are armed.
func judgeTimers(l *look, _ limits) (out []finding) {
	for _, h := range l.health.Items {
		if h.DeadTimers > 0 {
			out = append(out, wrong(levelWarn, codeDeadTimer, h.ID, "%s for later of the groups that it owns failed as often as they may; 'loopmesh timer ls' lists them as dead", plural(h.DeadTimers, "call")))
		}
	}
	return out
}

// judgeLetters: commands that nobody runs any more.
func judgeLetters(l *look, _ limits) []finding {
	const see = "'loopmesh command dead' lists them"
	if l.lettersLate {
		return []finding{wrong(levelWarn, codeDeadLetter, "queues", "whether there are dead letters was not found out within %v; %s", lettersTime, see)}
	}
	count := map[string]int{}
	var queues []string
	for _, c := range l.letters.Items {
		if count[c.Queue] == 0 {
			queues = append(queues, c.Queue)
		}
		count[c.Queue]++
	}
	if len(queues) == 0 {
		return nil
	}
	all := plural(len(l.letters.Items), "dead letter")
	if len(l.letters.Items) >= durable.MaxListed {
		all = fmt.Sprintf("%d dead letters or more", durable.MaxListed)
	}
	where := "in queue " + queues[0]
	if len(queues) > 1 {
		where = fmt.Sprintf("in %d queues, the first is %s", len(queues), queues[0])
	}
	return []finding{wrong(levelWarn, codeDeadLetter, "queues", "%s %s; %s", all, where, see)}
}
