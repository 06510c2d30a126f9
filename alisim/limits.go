package alisim

import (
	"sync"
	"time"
)

// limits counts calls per account, limit and second.
type limits struct {
	mu     sync.Mutex
	second int64
	counts map[string]int
}

func (l *limits) allow(act *action, account string, rates map[string]int, now time.Time) *problem {
	if len(rates) == 0 {
		return nil
	}
	group := act.service + ".read"
	if act.writes {
		group = act.service + ".write"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if second := now.Unix(); second != l.second || l.counts == nil {
		l.second, l.counts = second, map[string]int{}
	}
	for _, name := range []string{act.name, group} {
		rate, limited := rates[name]
		if !limited {
			continue
		}
		key := account + " " + name
		if l.counts[key] >= rate {
			refused := gatewayProblem("Throttling.User")
			refused.header = rateLimitHeader(time.Duration(1_000_000_000 - now.Nanosecond()))
			return refused
		}
		l.counts[key]++
	}
	return nil
}
