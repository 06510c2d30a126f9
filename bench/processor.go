package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// usedBy is the time that the threads of the process have run. A thread that has
// ended is not counted; Go ends none of its own.
func usedBy(pid int) (time.Duration, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err == nil && len(threads) == 0 {
		err = fmt.Errorf("the process %d is gone, or its kernel counts no times", pid)
	}
	var all time.Duration
	for _, thread := range threads {
		raw, err := os.ReadFile(thread)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		first, _, _ := strings.Cut(string(raw), " ") // in nanoseconds
		ran, parsed := strconv.ParseInt(first, 10, 64)
		if err := errors.Join(err, parsed); err != nil {
			return 0, err
		}
		all += time.Duration(ran)
	}
	return all, err
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
