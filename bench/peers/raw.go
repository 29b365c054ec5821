package main

import (
	"encoding/csv"
	"io"
	"os"
	"strconv"
)

// raw keeps every figure of every round, one a line, for the tables and plots of
// package report.
type raw struct {
	csv  *csv.Writer
	file io.Closer
}

// rawFile makes the file; without a path nothing is kept.
func rawFile(path string) (*raw, error) {
	if path == "" {
		return &raw{csv.NewWriter(io.Discard), io.NopCloser(nil)}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	r := &raw{csv.NewWriter(f), f}
	return r, r.csv.Write([]string{"load", "server", "round", "measure", "value"})
}

func (r *raw) add(load, server string, round int, measure string, value float64) {
	_ = r.csv.Write([]string{load, server, strconv.Itoa(round), measure, strconv.FormatFloat(value, 'g', 6, 64)}) // close tells
}

// sample writes what one round of a load saw.
func (r *raw) sample(load, server string, round int, s sample) {
	for _, m := range []struct {
		name  string
		value float64
	}{
		{"requests/s", s.rate},
		{"cpu us", s.cpu},
		{"user us", s.user},
		{"p50 us", s.p50},
		{"p99 us", s.p99},
		{"p99.9 us", s.p999},
		{"max us", s.worst},
	} {
		r.add(load, server, round, m.name, m.value)
	}
}

func (r *raw) close() error {
	r.csv.Flush()
	if err := r.csv.Error(); err != nil {
		return err
	}
	return r.file.Close()
}
