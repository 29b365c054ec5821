package main

import (
	"errors"
	"path/filepath"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

const width, height = 18 * vg.Centimeter, 9 * vg.Centimeter

// costs draws processor time a request for each load, a bar for each server.
func costs(p *peers, file string) error {
	pl := plot.New()
	pl.Y.Label.Text = "processor time a request, C epoll = 1"
	pl.Legend.Top = true
	pl.Y.Min = 0
	servers := []string{ours, "C epoll", "libuv", "gnet", "Go net", "uvloop", "asyncio"}
	var names []string
	for _, e := range echoes {
		names = append(names, e.name)
	}
	bar := vg.Points(8)
	for i, s := range servers {
		var values plotter.Values
		for _, e := range echoes {
			values = append(values, p.of(e.load, s, "cpu us").over(p.of(e.load, "C epoll", "cpu us")).median())
		}
		bars, err := plotter.NewBarChart(values, bar)
		if err != nil {
			return err
		}
		bars.LineStyle.Width = 0
		bars.Color = plotutil.Color(i)
		bars.Offset = bar * vg.Length(i-len(servers)/2)
		pl.Add(bars)
		pl.Legend.Add(s, bars)
	}
	pl.NominalX(names...)
	pl.X.Tick.Label.Font.Size = 8
	pl.Y.Max *= 1.6 // room for the legend
	return pl.Save(width, height, file)
}

// growth draws the rate over the number of connections.
func growth(p *peers, file string) error {
	pl := plot.New()
	pl.X.Label.Text, pl.Y.Label.Text = "connections", "thousand echoes a second"
	pl.X.Scale, pl.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	pl.Y.Min = 0
	var lines []any
	for _, s := range []string{ours, "C epoll", "libuv", "gnet", "Go net", "uvloop"} {
		var at plotter.XYs
		for _, n := range []int{100, 400, 1600, 6400, 17000} {
			if rate := p.of("growth "+strconv.Itoa(n), s, "requests/s"); len(rate) > 0 {
				at = append(at, plotter.XY{X: float64(n), Y: rate.median() / 1000})
			}
		}
		if len(at) > 0 {
			lines = append(lines, s, at)
		}
	}
	if len(lines) == 0 {
		return errors.New("there are no figures of growing loads")
	}
	if err := plotutil.AddLinePoints(pl, lines...); err != nil {
		return err
	}
	return pl.Save(width, height, file)
}

func plots(p *peers, dir string) error {
	return errors.Join(costs(p, filepath.Join(dir, "cpu.svg")), growth(p, filepath.Join(dir, "growth.svg")))
}
