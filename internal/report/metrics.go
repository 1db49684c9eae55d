package report

import (
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/plan"
)

// metrics collects gauges in Prometheus' text format, version 0.0.4: every family with its HELP and TYPE and its
// samples together, without timestamps (the textfile collector refuses them). Times are seconds since 1970.
type metrics struct{ b strings.Builder }

// family begins a metric family; its samples follow.
func (m *metrics) family(name, help string) *family {
	fmt.Fprintf(&m.b, "# HELP mailcertd_%s %s\n# TYPE mailcertd_%s gauge\n", name, helpEscapes.Replace(help), name)
	return &family{m, "mailcertd_" + name}
}

type family struct {
	m    *metrics
	name string
}

// Escapes, as the format defines them.
var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// add adds a sample; labels are names and values in turn.
func (f *family) add(value float64, labels ...string) {
	var pairs []string
	for i := 0; i+1 < len(labels); i += 2 {
		pairs = append(pairs, labels[i]+`="`+labelEscapes.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD"))+`"`)
	}
	text := ""
	if len(pairs) > 0 {
		text = "{" + strings.Join(pairs, ",") + "}"
	}
	fmt.Fprintf(&f.m.b, "%s%s %s\n", f.name, text, strconv.FormatFloat(value, 'f', -1, 64))
}

func (f *family) time(t time.Time, labels ...string) { f.add(float64(t.Unix()), labels...) }

func (f *family) truth(v bool, labels ...string) {
	n := 0.0
	if v {
		n = 1
	}
	f.add(n, labels...)
}

// WriteMetrics prints the report for node_exporter, without families that have no sample.
func WriteMetrics(w io.Writer, r Status) error {
	var m metrics
	m.family("build_info", "The version of mailcertd and what it was built with.").add(1, "version", r.Program,
		"goversion", runtime.Version())
	m.family("status_timestamp_seconds", "When these metrics were made.").time(r.At)
	m.family("starttls_offered",
		"Whether sendmail would offer STARTTLS with the files on disk, by its own rules.").truth(r.Offered)
	certificateMetrics(&m, r)
	caMetrics(&m, r)
	acmeMetrics(&m, r.ACME)
	daneMetrics(&m, r.DANE)
	sendmailMetrics(&m, r)
	if r.Daemon != nil {
		m.family("daemon_running", "Whether a mailcertd daemon runs.").truth(*r.Daemon)
	}
	count := map[plan.Severity]int{}
	for _, pr := range r.Problems {
		count[pr.Severity]++
	}
	f := m.family("problems", "Problems by severity, including those that mailcertd repairs by itself.")
	for _, s := range []plan.Severity{plan.Error, plan.Warning, plan.Notice} {
		f.add(float64(count[s]), "severity", s.String())
	}
	_, err := io.WriteString(w, m.b.String())
	return err
}

func certificateMetrics(m *metrics, r Status) {
	var all []*Certificate
	if r.Certificate != nil {
		all = append(all, r.Certificate)
	}
	for _, p := range r.Pairs {
		if p.Name != certdir.Host.Name && p.Certificate != nil {
			all = append(all, p.Certificate)
		}
	}
	which := func(c *Certificate) []string { return []string{"file", c.Path, "serial", c.Serial} }
	each := func(name, help string, add func(*family, *Certificate)) {
		var f *family
		for _, c := range all {
			if name == "certificate_renewal_timestamp_seconds" && c.Renewal == nil {
				continue
			}
			if f == nil {
				f = m.family(name, help)
			}
			add(f, c)
		}
	}
	each("certificate_info", "An installed certificate: where it comes from, and its issuer.",
		func(f *family, c *Certificate) {
			f.add(1, append(which(c), "origin", string(c.Origin), "issuer", c.IssuerText, "sha256", c.SHA256)...)
		})
	each("certificate_not_before_timestamp_seconds", "When an installed certificate becomes valid.",
		func(f *family, c *Certificate) { f.time(c.NotBefore, which(c)...) })
	each("certificate_not_after_timestamp_seconds", "When an installed certificate expires.",
		func(f *family, c *Certificate) { f.time(c.NotAfter, which(c)...) })
	each("certificate_renewal_timestamp_seconds",
		"When mailcertd renews an installed certificate; missing if it does not.",
		func(f *family, c *Certificate) { f.time(*c.Renewal, which(c)...) })
	windowMetrics(m, all, which)
	if len(r.Trusted) > 0 {
		f := m.family("trust_not_after_timestamp_seconds", "When a CA in cacert.pem expires.")
		seen := map[string]bool{}
		for _, t := range r.Trusted {
			if !seen[t.SHA256] { // a CA that is in the file twice is reported once
				f.time(t.NotAfter, "subject", t.Text, "sha256", t.SHA256)
			}
			seen[t.SHA256] = true
		}
	}
}

func caMetrics(m *metrics, r Status) {
	generations := func(name, help string, at func(Generation) time.Time) {
		if len(r.CA.Generations) == 0 {
			return
		}
		f := m.family(name, help)
		for _, g := range r.CA.Generations {
			role := "older"
			if g.Current {
				role = "current"
			} else if g.Next {
				role = "next"
			}
			f.time(at(g), "role", role, "subject", g.Text, "sha256", g.SHA256)
		}
	}
	generations("ca_not_before_timestamp_seconds", "When a generation of the CA on this host becomes valid.",
		func(g Generation) time.Time { return g.NotBefore })
	generations("ca_not_after_timestamp_seconds", "When a generation of the CA on this host expires.",
		func(g Generation) time.Time { return g.NotAfter })
	if r.CA.NextDue != nil {
		m.family("ca_next_generation_due_timestamp_seconds",
			"When the next generation of the CA is due.").time(*r.CA.NextDue)
	}
	if c := r.CRL; c != nil {
		m.family("crl_next_update_timestamp_seconds", "When the CRL that expires first expires.").time(c.NextUpdate,
			"file", c.Path)
		if c.Renewal != nil {
			m.family("crl_renewal_timestamp_seconds", "When the next CRLs are made.").time(*c.Renewal)
		}
	}
	if is := r.Issued; is != nil {
		f := m.family("issued_certificates", "Certificates in the database of the CA on this host, by status.")
		f.add(float64(is.Valid), "status", "valid")
		f.add(float64(is.Expired), "status", "expired")
		f.add(float64(is.Revoked), "status", "revoked")
		if len(is.NextDue) > 0 {
			m.family("issued_next_not_after_timestamp_seconds",
				"When the next of the valid certificates that this CA issued expires.").time(is.NextDue[0].Expires)
		}
	}
	if i := r.Issuer; i != nil && i.Asked != nil {
		m.family("issuer_answer_timestamp_seconds", "When the CA host last answered.").time(*i.Asked,
			"target", i.Target)
	}
}

func sendmailMetrics(m *metrics, r Status) {
	m.family("pickup_pending", "Whether sendmail has not yet picked up the files on disk.").truth(
		r.Sendmail.PickupPending)
	if len(r.Serves) > 0 {
		f := m.family("serves_disk",
			"Whether sendmail was just seen to serve the certificate on disk; only with --probe.")
		seen := map[string]bool{}
		for _, s := range r.Serves {
			labels := []string{"address", s.Addr}
			if s.Pair != "" {
				labels = append(labels, "pair", s.Pair)
			}
			if key := s.Addr + " " + s.Pair; !seen[key] {
				f.truth(s.OnDisk, labels...)
				seen[key] = true
			}
		}
	}
	if n := len(r.Pickups); n > 0 {
		d := r.Pickups[n-1]
		m.family("last_pickup_timestamp_seconds",
			"When sendmail was last told about new files, and with which result.").time(d.At, "result", d.Result)
	}
	if r.Next != nil {
		m.family("next_step_timestamp_seconds", "When mailcertd takes the next step by itself.").time(*r.Next)
	}
}
