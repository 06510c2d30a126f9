package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// processorTime is what the processes of one measurement have used of the
// processors: Vault, the plugin, and here the readers, the simulator, the relay
// and the proxy. It tells what a throughput is short of.
type processorTime struct{ vault, plugin, here time.Duration }

func (l *lab) processorTime(e engine) (processorTime, error) {
	plugin, err := e.vault.plugin(e.mount)
	if err != nil {
		return processorTime{}, err
	}
	var t processorTime
	if t.vault, err = usedBy(e.vault.process.Pid); err != nil {
		return t, err
	}
	if t.plugin, err = usedBy(plugin.pid); err != nil {
		return t, err
	}
	t.here, err = usedBy(os.Getpid())
	return t, err
}

func (t processorTime) sub(before processorTime) processorTime {
	return processorTime{t.vault - before.vault, t.plugin - before.plugin, t.here - before.here}
}

// usedBy is the time of the process in user and system mode.
func usedBy(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything; the times are fields 14 and 15.
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 wherever Linux shows it to programs
	return time.Duration(ticks) * tick, nil
}

// A load is a throughput and what one credential of it cost.
type load struct {
	perSecond float64
	each      processorTime
}

// rates are the throughputs of some loads.
func rates(loads []load) []float64 {
	var all []float64
	for _, l := range loads {
		all = append(all, l.perSecond)
	}
	return all
}

// tabulate writes a line for each engine: medians.
func tabulate(table *tabwriter.Writer, title string, engines []engine, loads [][]load) {
	fmt.Fprintf(table, "%s\tper second\tprocessor ms each: Vault\tplugin\tsimulator and clients\tall\t\n", title)
	for i, engine := range engines {
		part := func(of func(processorTime) time.Duration) float64 {
			var all []float64
			for _, l := range loads[i] {
				all = append(all, milliseconds(of(l.each)))
			}
			return median(all)
		}
		fmt.Fprintf(table, "%s\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", engine.kind, median(rates(loads[i])),
			part(func(t processorTime) time.Duration { return t.vault }),
			part(func(t processorTime) time.Duration { return t.plugin }),
			part(func(t processorTime) time.Duration { return t.here }),
			part(func(t processorTime) time.Duration { return t.vault + t.plugin + t.here }))
	}
}
