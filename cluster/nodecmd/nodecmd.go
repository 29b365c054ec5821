// Package nodecmd gives a program the whole command line of a node: start and dev run
// nodes of this program, with its functions, actors and services; every other command
// looks into nodes that run and changes them.
//
//	var price = cluster.Func("shop.price", func(ctx context.Context, item string) (int, error) { … })
//
//	func main() {
//		nodecmd.Main(
//			nodecmd.WithName("shop"),
//			nodecmd.WithPrepare(openShop), // its actors and what else it needs
//			nodecmd.WithService(nodecmd.Service{Name: "orders", About: "take orders", Start: serveOrders}),
//		)
//	}
//
// Which one do I use? Main, when a node is all that the program is. cluster.Start and
// package admin, when a node is a part of a program with a command line of its own:
// then the commands of any program built on this package find its nodes, too.
//
// Functions need no option: they belong to every node of the process that registers
// them (cluster.Func).
//
// What the commands are for:
//
//   - run: start, dev, keys; config makes, checks and shows the file that start --config
//     reads;
//   - what runs where: ls, tree, status, loop ls, ps, conn ls, server ls, proc ls, actor ls,
//     func ls; inspect shows everything about one of them;
//   - is it well: check judges the cluster, doctor this machine and its configuration;
//     wait waits for a state; reload has a node read its configuration again;
//   - why is it slow: loop ls measures every loop, ps and task show say what tasks wait
//     for, conn ls which peers do not read;
//   - stop this: task cancel, conn close, server close, proc signal, actor stop; drain lets a
//     node leave in good order;
//   - what happened: events, and explain for the codes in events and errors;
//   - look deeper: log shows the end of a node's log and changes its levels, pprof makes a
//     profile of its process, report puts everything into one file for somebody else;
//   - measure: bench has two nodes of a cluster that runs send to each other for a while;
//     nats shows how each node reaches NATS, and who keeps the store;
//   - choose whom to ask: context keeps names for nodes here and on other machines;
//     "help topics" lists what holds for all commands;
//   - do something: func call, conn write; proc run runs a command on other nodes, with its
//     output here.
//
// Rules that hold for all of them:
//
//   - stdout carries data only, stderr everything else. With -o json stdout is one
//     document, with jsonl one on each line, and errors are documents, too.
//   - Every command returns one of the exit codes that "help exit-codes" lists, and
//     every error says what failed, why, and what to do, with a code for explain.
//   - Fields of JSON are only added; tables may change with any version.
//   - A command never guesses its target: nodes of two clusters on one machine, or an id
//     that there is not, are errors that list what there is.
//   - A list names who did not answer, and then ends with exit code 4, so that an
//     incomplete answer is not taken for a complete one.
//   - Every id that a list prints is taken by the commands beside it.
//   - Names that come from other nodes and from peers are printed so that a terminal
//     cannot be steered by them.
//   - Flags are set by the command line, else by the variable LOOPMESH_ and their name,
//     also in a program that is called something else: one environment serves all. Those
//     of start, else by the configuration file.
//
// How does a command reach a node? Through its admin socket, which only the user of the
// node can open (package admin). Any node shows its whole cluster.
package nodecmd

import (
	"context"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/loopmesh/loopmesh/cluster"
)

// Option says something about the program. Options are used once, by Main or Run.
type Option func(*program)

// program is what the options say. Owned by the run it was made for.
type program struct {
	name, example string
	services      []Service
	prepare       []func(context.Context, *cluster.Node) error
	tracing       Tracing
	reload        []Reloading
	byVariable    map[string]bool // flags that a variable has set in this run
}

// defaultName is the name of the command line that this module builds itself.
const defaultName = "loopmesh"

func newProgram(opts []Option) *program {
	p := &program{name: defaultName, example: "func ls", byVariable: map[string]bool{}}
	for _, o := range opts {
		o(p)
	}
	return p
}

// WithName says what the program is called, in its help, its errors and its hints;
// default "loopmesh".
func WithName(name string) Option { return func(p *program) { p.name = name } }

// WithExample is a command line, without the program's name, that shows what one can
// do with a node of this program; the first page of help and dev print it. Default
// "func ls".
func WithExample(line string) Option { return func(p *program) { p.example = line } }

// WithPrepare calls fn for each node that the program starts, when its loops are there
// and before another node hears of it: no call and no command meets a node without what
// fn makes. An error ends the start. It may wait; ctx ends when the start is given up.
// Several are called in their order.
func WithPrepare(fn func(ctx context.Context, node *cluster.Node) error) Option {
	return func(p *program) { p.prepare = append(p.prepare, fn) }
}

// WithService adds a service to every node of the program: a flag of start says where
// it listens, and dev starts it on a port of its own.
func WithService(s Service) Option {
	return func(p *program) { p.services = append(p.services, s) }
}

// Service is something that a node serves at an address. asyncio: the coroutine that
// calls create_server.
type Service struct {
	// Name is the flag of start that takes its address (host:port), and what start and
	// dev call it. Lower-case letters, digits and -.
	Name string
	// About says in a few words, for the help of the flag, what it is.
	About string
	// Try is what a person can type to use it, with HOST and PORT in the places of its
	// address, for example "nc HOST PORT"; "": dev shows its address only.
	Try string
	// Start starts it and returns when it serves, with the address at which it does (the
	// port of address may be 0; "fd://NAME" is a socket of the service manager, which
	// handover.At takes). It ends with the node. It is called on a goroutine of the start, not
	// on a loop.
	Start func(ctx context.Context, node *cluster.Node, address string) (net.Addr, error)
}

// Main is the main function of a program: it runs the command line of the process and
// ends the process with its exit code; it does not return. Ctrl-C, SIGTERM and SIGHUP
// end what the command does in order, a second one ends the process at once. To start,
// SIGHUP says that it is to read its configuration again, while its terminal is there.
func Main(opts ...Option) {
	handed := &interrupts{}
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), interruptsKey{}, handed))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// The first signal ends ctx, so that the command shuts down in order; the
	// second one ends the process at once, whatever the command waits for. A
	// closed terminal (SIGHUP) counts like Ctrl-C. Those that a command has taken over
	// do not count.
	//
	// goroutine: owner: Main; ends with the process
	go func() {
		first := true
		for s := range signals {
			switch {
			case handed.pass(s):
			case first:
				first = false
				cancel()
			default:
				os.Exit(exitInterrupted)
			}
		}
	}()
	os.Exit(Run(ctx, os.Args[1:], os.Stdout, os.Stderr, opts...))
}

// Run is Main without the process: it runs the command line args, writes to out and
// errs only, and returns the exit code. It waits until the command has ended; when ctx
// ends, the command shuts down in order. Runs do not see each other: all state is in
// the tree of commands that each of them builds.
func Run(ctx context.Context, args []string, out, errs io.Writer, opts ...Option) int {
	root := newRoot(newProgram(opts), out, errs)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return printError(errs, cmd, err)
}
