package link

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/cluster/internal/engine"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// Topics. What is published to a topic leaves this node once, and NATS hands it to the
// nodes that subscribe to the topic. It travels on the bulk connection: a room that talks
// much must not delay a heartbeat.

// PublishTopic sends f to every node that subscribes to the topic f.Function, this one
// included. It does not wait. Errors as of Send.
func (l *Link) PublishTopic(f *wire.Frame) error {
	if l.closing.Load() {
		return sendError(engine.ErrClosed)
	}
	f.From, f.FromNumber = l.self.Name, l.self.Number
	buf := frames.Get().(*[]byte)
	defer frames.Put(buf)
	*buf = f.Append((*buf)[:0])
	if len(*buf) > l.maxFrame {
		return tooLong(len(*buf), l.maxFrame)
	}
	if err := l.bulk.Publish(l.subjects.Topic(f.Function), "", *buf); err != nil {
		l.stats.sendErrors.Add(1)
		return sendError(err)
	}
	l.stats.framesOut.Add(1)
	return nil
}

// MayPublish reports whether this node has the right to publish to a topic, as far as
// this node knows: without keys, what it lets others do.
func (l *Link) MayPublish(topic string) bool { return l.rights(l.subjects.Rights()).Publish(topic) }

// SubscribeTopic calls handle for what nodes publish to a topic, in order, on a goroutine
// of the subscription. handle never waits. Frames of another topic do not belong there and
// are counted as misplaced.
func (l *Link) SubscribeTopic(topic string, handle func(f *wire.Frame, in Arrival)) error {
	var f wire.Frame
	names, from := &wire.Names{}, l.senders()
	return l.bulk.Subscribe(l.subjects.Topics(topic), func(m *nats.Msg) {
		l.stats.framesIn.Add(1)
		in, ok := from(m)
		if !ok {
			l.Malformed(m.Subject, errNoSender)
			return
		}
		switch err := wire.Decode(m.Data, &f, names); {
		case err != nil:
			l.Malformed(m.Subject, err)
		case f.Kind != wire.Publish, f.Function != topic, f.Flow == 0:
			l.Misplaced(&f, m.Subject)
		default:
			handle(&f, in)
		}
	})
}

// UnsubscribeTopic ends what SubscribeTopic began. A frame that has arrived may still be
// handled.
func (l *Link) UnsubscribeTopic(topic string) { l.bulk.Unsubscribe(l.subjects.Topics(topic)) }

// FlushTopics waits until the NATS server has every subscription and message of topics.
func (l *Link) FlushTopics(ctx context.Context) error {
	_, err := l.bulk.Ask(ctx)
	return err
}
