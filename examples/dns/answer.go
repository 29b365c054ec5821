package main

import (
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	life       = 60        // of an answer, in seconds
	maxMessage = 512       // over UDP without extensions, RFC 1035 4.2.1
	whoami     = "whoami." // its TXT record is the asker's address
	maxRecords = 64        // in one answer
)

// answer makes the reply to a query, nil when there is nobody to reply to.
func (z zone) answer(query []byte, from netip.AddrPort) []byte {
	var p dnsmessage.Parser
	head, err := p.Start(query)
	if err != nil || head.Response {
		return nil // not a query: an answer could go round for ever
	}
	reply := dnsmessage.Header{ID: head.ID, Response: true, Authoritative: true, RecursionDesired: head.RecursionDesired}
	q, err := p.Question()
	switch {
	case err != nil:
		reply.RCode = dnsmessage.RCodeFormatError
		return pack(reply, nil, nil)
	case head.OpCode != 0 || q.Class != dnsmessage.ClassINET:
		reply.RCode = dnsmessage.RCodeNotImplemented
		return pack(reply, &q, nil)
	}
	records, known := z.find(q, from)
	if !known {
		reply.RCode = dnsmessage.RCodeNameError
	}
	return pack(reply, &q, records)
}

// find is what is known of a name: perhaps nothing of the type that is asked for.
func (z zone) find(q dnsmessage.Question, from netip.AddrPort) (records []dnsmessage.ResourceBody, known bool) {
	name := strings.ToLower(q.Name.String())
	if name == whoami {
		if q.Type == dnsmessage.TypeTXT || q.Type == dnsmessage.TypeALL {
			records = append(records, &dnsmessage.TXTResource{TXT: []string{from.Addr().Unmap().String()}})
		}
		return records, true
	}
	addrs, known := z[name]
	for _, a := range addrs[:min(len(addrs), maxRecords)] {
		switch {
		case a.Is4() && (q.Type == dnsmessage.TypeA || q.Type == dnsmessage.TypeALL):
			records = append(records, &dnsmessage.AResource{A: a.As4()})
		case a.Is6() && (q.Type == dnsmessage.TypeAAAA || q.Type == dnsmessage.TypeALL):
			records = append(records, &dnsmessage.AAAAResource{AAAA: a.As16()})
		}
	}
	return records, known
}

// pack writes a reply; one that does not fit a datagram says so and is empty.
func pack(head dnsmessage.Header, q *dnsmessage.Question, records []dnsmessage.ResourceBody) []byte {
	m := dnsmessage.Message{Header: head}
	if q != nil {
		m.Questions = []dnsmessage.Question{*q}
	}
	for _, body := range records {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: life}, Body: body,
		})
	}
	b, err := m.Pack()
	if err == nil && len(b) > maxMessage {
		m.Truncated, m.Answers = true, nil
		b, err = m.Pack()
	}
	if err != nil {
		return nil // a name that cannot be written back
	}
	return b
}
