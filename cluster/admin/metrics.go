package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/process"
)

// Metrics for Prometheus, of this node only: a scraper asks every node itself. Nothing
// is counted for them: the counters are those of cluster.Stats, which a node has anyway,
// and what a loop has to do is asked of it when somebody scrapes. A loop that does not
// answer in time has loopmesh_loop_blocked or no numbers at all, never old ones.
//
// The tables below are the list of names; docs/metrics.md is made from them. Names,
// labels and units keep their meaning within a version of the API.

// nodeMetric is one number of cluster.Stats.
type nodeMetric struct {
	name, help string
	kind       prometheus.ValueType
	value      func(*cluster.Stats) float64
}

// counted and level make a nodeMetric of a counter and of a number that goes up and down.
func counted(name, help string, value func(*cluster.Stats) uint64) nodeMetric {
	return nodeMetric{"loopmesh_" + name + "_total", help, prometheus.CounterValue, func(s *cluster.Stats) float64 { return float64(value(s)) }}
}

func level(name, help string, value func(*cluster.Stats) int) nodeMetric {
	return nodeMetric{"loopmesh_" + name, help, prometheus.GaugeValue, func(s *cluster.Stats) float64 { return float64(value(s)) }}
}

var nodeMetrics = []nodeMetric{
	counted("frames_in", "Frames of other nodes, malformed ones too.", func(s *cluster.Stats) uint64 { return s.FramesIn }),
	counted("frames_out", "Frames published.", func(s *cluster.Stats) uint64 { return s.FramesOut }),
	counted("frames_malformed", "Frames that were refused by the decoder, sent to the wrong place or too often. Alert: should stay 0.", func(s *cluster.Stats) uint64 { return s.Malformed }),
	counted("send_errors", "Frames that could not be published.", func(s *cluster.Stats) uint64 { return s.SendErrors }),
	counted("calls", "Calls made to other nodes, those of the admin API too.", func(s *cluster.Stats) uint64 { return s.Calls }),
	counted("calls_failed", "Of these: ended in an error.", func(s *cluster.Stats) uint64 { return s.CallsFailed }),
	counted("calls_served", "Calls of other nodes that ran to an end here.", func(s *cluster.Stats) uint64 { return s.Served }),
	counted("calls_refused", "Calls of other nodes that did not run. Alert: a loop has too much to do.", func(s *cluster.Stats) uint64 { return s.Refused }),
	counted("calls_expired", "Of these: too late.", func(s *cluster.Stats) uint64 { return s.Expired }),
	counted("casts_out", "Calls without an answer that were sent.", func(s *cluster.Stats) uint64 { return s.CastsOut }),
	counted("casts_in", "Calls without an answer that were received.", func(s *cluster.Stats) uint64 { return s.CastsIn }),
	counted("casts_failed", "Of the received ones: refused or failed.", func(s *cluster.Stats) uint64 { return s.CastsFailed }),
	counted("casts_waited", "Calls without an answer, and messages, that had to wait for credit.", func(s *cluster.Stats) uint64 { return s.CastsWaited }),
	counted("lost", "Calls without an answer, and messages, that never arrived. Alert: should stay 0.", func(s *cluster.Stats) uint64 { return s.Lost }),
	counted("refusals", "Calls without an answer, and messages, that arrived and did not run.", func(s *cluster.Stats) uint64 { return s.Refusals }),
	counted("messages_out", "Messages of actors that were sent.", func(s *cluster.Stats) uint64 { return s.TellsOut }),
	counted("messages_in", "Messages of actors that were received.", func(s *cluster.Stats) uint64 { return s.TellsIn }),
	counted("messages_failed", "Of these: for nobody, or not readable.", func(s *cluster.Stats) uint64 { return s.TellsFailed }),
	counted("nats_dropped", "Messages that NATS dropped, because this node was too slow. Alert: should stay 0.", func(s *cluster.Stats) uint64 { return s.Dropped }),
	counted("nats_disconnects", "Connections to NATS that were lost.", func(s *cluster.Stats) uint64 { return s.Disconnects }),
	counted("nats_reconnects", "Connections to NATS that were won again.", func(s *cluster.Stats) uint64 { return s.Reconnects }),
	counted("rights_refused", "What other nodes asked for without a right to it.", func(s *cluster.Stats) uint64 { return s.NoRight }),
	counted("nodes_down", "Members that were found dead.", func(s *cluster.Stats) uint64 { return s.NodesDown }),
	level("calls_in_flight", "Calls of this node that wait for their answer.", func(s *cluster.Stats) int { return s.InFlight }),
	level("calls_running", "Calls of other nodes that run here.", func(s *cluster.Stats) int { return s.Inbound }),
	level("casts_under_way", "Calls without an answer, and messages, that their loops and actors have not taken.", func(s *cluster.Stats) int { return int(s.UnderWay) }),
	level("timers_waiting", "Calls for later of other nodes that wait here.", func(s *cluster.Stats) int { return s.Timers }),
	level("members", "Members of the cluster that this node knows, itself included.", func(s *cluster.Stats) int { return s.Members }),
	level("loops", "Loops of this node.", func(s *cluster.Stats) int { return s.Loops }),
}

// processMetric is one number of the children that were started for other nodes. All of them
// are 0 where nothing is offered.
type processMetric struct {
	name, help string
	kind       prometheus.ValueType
	value      func(process.Stats) float64
}

// Why apart from loopmesh_loop_children? That counts every child of every loop; these are
// what package process has started, refused and ended, which nobody but it knows.
var processMetrics = []processMetric{
	{"loopmesh_processes_running", "Processes of profiles that run here.", prometheus.GaugeValue, func(p process.Stats) float64 { return float64(p.Running) }},
	{"loopmesh_processes_started_total", "Processes of profiles that were started here.", prometheus.CounterValue, func(p process.Stats) float64 { return float64(p.Started) }},
	{"loopmesh_processes_refused_total", "Starts that failed: arguments, limits, a missing program.", prometheus.CounterValue, func(p process.Stats) float64 { return float64(p.Refused) }},
	{"loopmesh_processes_ended_total", "Processes that this node ended: the owner was gone or closed them, their time was over, the node left.", prometheus.CounterValue, func(p process.Stats) float64 { return float64(p.Ended) }},
}

// loopMetric is one number of a loop, with its name as label.
type loopMetric struct {
	name, help string
	value      func(*loopView) float64
}

var loopMetrics = []loopMetric{
	{"loopmesh_loop_queue", "Callbacks that wait for the next turn.", func(l *loopView) float64 { return float64(l.Queue) }},
	{"loopmesh_loop_tasks", "Tasks that have not ended.", func(l *loopView) float64 { return float64(l.Tasks) }},
	{"loopmesh_loop_timers", "Timers that are armed.", func(l *loopView) float64 { return float64(l.Timers) }},
	{"loopmesh_loop_descriptors", "Descriptors that are watched.", func(l *loopView) float64 { return float64(l.Watched) }},
	{"loopmesh_loop_connections", "Connections.", func(l *loopView) float64 { return float64(l.Conns) }},
	{"loopmesh_loop_connections_paused", "Of these: the peer does not read what is written.", func(l *loopView) float64 { return float64(l.Paused) }},
	{"loopmesh_loop_unsent_bytes", "Bytes that peers have not taken.", func(l *loopView) float64 { return float64(l.Unsent) }},
	{"loopmesh_loop_children", "Child processes.", func(l *loopView) float64 { return float64(l.Children) }},
	{"loopmesh_loop_answer_seconds", "How long the loop took to answer this scrape: what anything else that is sent to it waits.", func(l *loopView) float64 { return l.took.Seconds() }},
}

// The metrics that are no number of Stats or of a loop that answers.
var (
	infoDesc    = prometheus.NewDesc("loopmesh_info", "1, with the versions as labels.", []string{"node", "version", "go"}, nil)
	blockedDesc = prometheus.NewDesc("loopmesh_loop_blocked", "1 while a callback of the loop does not return, else 0. Alert: should stay 0.", []string{"loop"}, nil)
	eventsDesc  = prometheus.NewDesc("loopmesh_events_total", "Events by their codes, see docs/errors.md.", []string{"code", "level"}, nil)
)

// collector gathers the metrics of one node when somebody scrapes. Any goroutine.
type collector struct{ s *Server }

// Describe says nothing, which makes the registry take what Collect gives as it is: the
// loops, and so the label values, come and go.
func (collector) Describe(chan<- *prometheus.Desc) {}

// scrapeLimit bounds the question to the loops: scrapers give up after ten seconds by
// default, and a blocked loop must not cost them all the rest.
const scrapeLimit = time.Second

// Collect asks the loops of this node and reads its counters.
func (c collector) Collect(out chan<- prometheus.Metric) {
	s := c.s
	version, goVersion := Version()
	out <- prometheus.MustNewConstMetric(infoDesc, prometheus.GaugeValue, 1, s.node.Name(), version, goVersion)
	stats := s.node.Stats()
	for _, m := range nodeMetrics {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(m.name, m.help, nil, nil), m.kind, m.value(&stats))
	}
	children := process.Counted(s.node)
	for _, m := range processMetrics {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(m.name, m.help, nil, nil), m.kind, m.value(children))
	}
	for code, n := range s.events.byCode() {
		out <- prometheus.MustNewConstMetric(eventsDesc, prometheus.CounterValue, float64(n), code, levelOf(code))
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	names, blocked := s.node.Loops(), s.watch.blockedLoops()
	views := make([]loopView, len(names))
	inParallel(len(names), func(i int) {
		views[i].loopReport, views[i].took, views[i].err = ask(ctx, s, askLoop, s.node.Name()+"/"+names[i], loopQuestion{})
	})
	for i, name := range names {
		isBlocked := 0.0
		if _, ok := blocked[name]; ok {
			isBlocked = 1
		}
		out <- prometheus.MustNewConstMetric(blockedDesc, prometheus.GaugeValue, isBlocked, name)
		if views[i].err != nil {
			continue
		}
		for _, m := range loopMetrics {
			out <- prometheus.MustNewConstMetric(prometheus.NewDesc(m.name, m.help, []string{"loop"}, nil), prometheus.GaugeValue, m.value(&views[i]), name)
		}
	}
}

// metrics is the handler of /metrics: this node, and Go's and the kernel's numbers of
// the process.
func (s *Server) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collector{s}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}
