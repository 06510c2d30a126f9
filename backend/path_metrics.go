package backend

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/prometheus/common/expfmt"
)

func (b *backend) pathMetrics() *framework.Path {
	read := operation(b.readMetrics, "Read figures of the mount in Prometheus's text format.", nil)
	read.ForwardPerformanceStandby = true // the active node issues, and counts
	return &framework.Path{
		Pattern:      "metrics",
		DisplayAttrs: display("read", "metrics"),
		Operations:   map[logical.Operation]framework.OperationHandler{logical.ReadOperation: read},
		HelpSynopsis: "Figures of the mount, for Prometheus.",
		HelpDescription: `
    vault read -format=raw alicloud/metrics

Prometheus scrapes /v1/alicloud/metrics with a token of Vault that may read it.
The answer is text in Prometheus's format, without secrets and without names of
users, roles and readers. docs/monitoring.md says what each figure means, and
examples/monitoring has the scrape config, alert rules and a dashboard.

Counters are in memory of this process, and start from zero with a restart or a
failover. A scrape calls nothing in the cloud and waits for nothing: the quotas
are asked for beside it, at most every five minutes.
`,
	}
}

func (b *backend) readMetrics(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	wal, err := framework.ListWAL(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	cloud, err := b.cloud(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	m := mountState{
		since: b.counters.since, totals: b.counters.read(), leases: b.endings.count(time.Now()), failing: b.failures.now(),
		keys: b.queue.Overview(), wal: len(wal),
	}
	if t := b.tidied.Load(); t != nil {
		m.tidied = *t
	}
	if cloud != nil {
		cloud.quotas.begin(quotaForMetrics)
		if own := cloud.own.obtained.Load(); own != nil {
			m.ownEnd = own.ends
		}
		m.quotas, m.quotasAt, _ = cloud.quotas.read()
	}
	var text bytes.Buffer
	for _, f := range m.families() {
		if len(f.samples) == 0 {
			continue
		}
		if _, err := expfmt.MetricFamilyToText(&text, f.wire()); err != nil {
			return nil, err
		}
	}
	return &logical.Response{Data: map[string]any{
		logical.HTTPContentType: string(expfmt.NewFormat(expfmt.TypeTextPlain)), logical.HTTPRawBody: text.Bytes(), logical.HTTPStatusCode: http.StatusOK,
	}}, nil
}
