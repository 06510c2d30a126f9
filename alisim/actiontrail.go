package alisim

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ActionTrail tells who called what: it looks events up in the journal.
const (
	actionTrail        = "Actiontrail"
	actionTrailVersion = "2020-07-06"

	lookupDefault, lookupMost = 20, 50
	lookupSpan                = 7 * 24 * time.Hour // where no times are given
)

// actionTrailActions is what a reader of events needs. Parameters: the API's metadata of April 2026.
func actionTrailActions() []action {
	return []action{{
		service: actionTrail, version: actionTrailVersion, name: "LookupEvents", resource: anything, forbidden: forbiddenRAM,
		prepare: func(s *Server, _ context.Context, r *request) *problem {
			r.calls, _ = s.journal.calls()
			return nil
		},
		handle: lookupEvents,
	}}
}

// lookupEvents answers the events of the caller's account, newest first unless Direction says otherwise.
func lookupEvents(r *request) (object, *problem) {
	from, to := r.now.Add(-lookupSpan), r.now
	if (r.get("StartTime") == "") != (r.get("EndTime") == "") {
		return nil, refuse(http.StatusBadRequest, "InvalidTimeRange", "StartTime and EndTime must be given together.")
	}
	if r.get("StartTime") != "" {
		var err1, err2 error
		from, err1 = time.Parse(time.RFC3339, r.get("StartTime"))
		to, err2 = time.Parse(time.RFC3339, r.get("EndTime"))
		if err1 != nil || err2 != nil || to.Before(from) {
			return nil, refuse(http.StatusBadRequest, "InvalidTimeRange", "The specified time range is invalid.")
		}
	}
	most, first := lookupDefault, 0
	for name, n := range map[string]*int{"MaxResults": &most, "NextToken": &first} {
		if text := r.get(name); text != "" {
			var err error
			if *n, err = strconv.Atoi(text); err != nil || *n < 0 || name == "MaxResults" && (*n < 1 || *n > lookupMost) {
				return nil, refuse(http.StatusBadRequest, "InvalidParameter."+name, "The specified "+name+" is invalid.")
			}
		}
	}
	type filter struct{ key, value string }
	var filters []filter
	for n := 1; ; n++ {
		prefix := "LookupAttribute." + strconv.Itoa(n)
		f := filter{r.get(prefix + ".Key"), r.get(prefix + ".Value")}
		if f.key == "" {
			break
		}
		if n > 2 || eventAttributes[f.key] == nil {
			return nil, refuse(http.StatusBadRequest, "InvalidLookupAttribute", "The specified LookupAttribute is invalid.")
		}
		filters = append(filters, f)
	}

	events := []object{}
	skipped := 0
	calls := slices.Clone(r.calls)
	if r.get("Direction") != "FORWARD" {
		slices.Reverse(calls)
	}
	for _, c := range calls {
		who, ok := callerOf(c)
		at := c.Time.Truncate(time.Second) // as eventTime shows it
		if !ok || who.account != r.who.account || at.Before(from) || at.After(to) ||
			slices.ContainsFunc(filters, func(f filter) bool { return eventAttributes[f.key](c, who) != f.value }) {
			continue
		}
		if skipped < first {
			skipped++
			continue
		}
		if len(events) == most {
			return object{{"Events", events}, {"StartTime", stamp(from)}, {"EndTime", stamp(to)}, {"NextToken", strconv.Itoa(first + most)}}, nil
		}
		events = append(events, event(c, who))
	}
	return object{{"Events", events}, {"StartTime", stamp(from)}, {"EndTime", stamp(to)}}, nil
}

// eventAttributes are what events can be looked up by.
var eventAttributes = map[string]func(Call, principal) string{
	"EventAccessKeyId": func(c Call, _ principal) string { return c.AccessKeyID },
	"EventId":          func(c Call, _ principal) string { return c.RequestID },
	"EventName":        func(c Call, _ principal) string { return c.Action },
	"EventRW":          func(c Call, _ principal) string { return eventRW(c) },
	"ServiceName":      func(c Call, _ principal) string { return c.Service },
	"User":             func(_ Call, who principal) string { return eventUser(who) },
}

// callerOf is who made a call; false for those whose signature was wrong or missing.
func callerOf(c Call) (principal, bool) {
	account, name, ok := strings.Cut(strings.TrimPrefix(c.Principal, "acs:ram::"), ":")
	kind, name, _ := strings.Cut(name, "/")
	who := principal{account: account, name: name, kind: map[string]string{"root": "root-account", "user": "ram-user", "assumed-role": "assumed-role"}[kind]}
	if kind == "assumed-role" {
		who.name, who.session, _ = strings.Cut(name, "/")
	}
	return who, ok && who.kind != ""
}

func eventUser(who principal) string {
	switch who.kind {
	case "assumed-role":
		return who.name + ":" + who.session
	case "root-account":
		return "root"
	}
	return who.name
}

func eventRW(c Call) string {
	if c.Applied {
		return "Write"
	}
	return "Read"
}

// event is a call as the document "Management event structure" (28819) shows one.
func event(c Call, who principal) object {
	parameters := object{}
	names := make([]string, 0, len(c.Params))
	for name := range c.Params {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		parameters = append(parameters, field{name, c.Params[name]})
	}
	return object{
		{"eventId", c.RequestID}, {"requestId", c.RequestID}, {"eventVersion", "1"}, {"eventType", "ApiCall"}, {"eventCategory", "Management"},
		{"eventName", c.Action}, {"eventRW", eventRW(c)}, {"eventSource", c.Host}, {"eventTime", stamp(c.Time)}, {"serviceName", c.Service},
		{"sourceIpAddress", hostOf(c.RemoteAddr)}, {"errorCode", c.Code}, {"requestParameters", parameters},
		{"userIdentity", object{{"type", who.kind}, {"accountId", who.account}, {"userName", eventUser(who)}, {"accessKeyId", c.AccessKeyID}}},
	}
}
