package openapi

import (
	"context"
	"errors"
	"net/url"
	"time"
)

// targets are the request's endpoints, those that were reachable first.
func (c *Client) targets(r Request) ([]*url.URL, error) {
	var reachable, down []*url.URL
	for _, endpoint := range append([]string{r.Endpoint}, r.Fallbacks...) {
		target, err := parseEndpoint(endpoint)
		switch {
		case err != nil:
			return nil, err
		case c.outages.has(target.Host):
			down = append(down, target)
		default:
			reachable = append(reachable, target)
		}
	}
	return append(reachable, down...), nil
}

// reach sends the request to one endpoint after the other until one answers,
// and stays with that one. An answer is a refusal, too. It stops where a
// further endpoint could execute a call for the second time.
func (c *call) reach(ctx context.Context) (time.Duration, error) {
	var silence []error // of each endpoint
	for range c.targets {
		hint, err := c.attempt(ctx, c.targets[0])
		if c.onAttempt != nil {
			c.onAttempt(Attempt{Action: c.Action, Version: c.Version, Err: err})
		}
		var network *NetworkError
		if !errors.As(err, &network) {
			return hint, afterDoubt(errors.Join(silence...), err)
		}
		silence = append(silence, err)
		if ctx.Err() != nil || network.Sent && !c.Repeatable {
			break
		}
		c.targets = append(c.targets[1:], c.targets[0])
	}
	return 0, errors.Join(silence...)
}
