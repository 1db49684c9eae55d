package report

import (
	"io"

	"mailcertd/internal/plan"
)

// WriteDomainMetrics prints the report for node_exporter, without families that have no sample.
func WriteDomainMetrics(w io.Writer, r Domain) error {
	var m metrics
	m.family("domain_check_timestamp_seconds", "When the domain was checked.").time(r.At, "domain", r.Domain)
	m.family("domain_fine", "Whether every address of the domain gets mail by TLS that DANE verifies, and nothing is "+
		"wrong.").
		truth(r.Fine, "domain", r.Domain)
	m.family("domain_checked", "Whether a resolver on this host has checked the signatures (DNSSEC).").
		truth(r.Checked, "domain", r.Domain)
	m.family("domain_info", "What a DANE sender does with mail to the domain, and why.").
		add(1, "domain", r.Domain, "verdict", string(r.Verdict), "reason", string(r.Reason))
	var rows, ends *family
	for _, h := range r.Hosts {
		for _, a := range h.Addresses {
			if rows == nil {
				rows = m.family("domain_address_info", "What a DANE sender does with an address of a mail host, "+
					"and why.")
			}
			rows.add(1, "domain", r.Domain, "host", h.Name, "address", a.Address, "verdict", string(a.Verdict),
				"reason",
				string(a.Reason))
		}
	}
	for _, h := range r.Hosts {
		for _, a := range h.Addresses {
			if len(a.Chain) == 0 {
				continue
			}
			if ends == nil {
				ends = m.family("domain_not_after_timestamp_seconds", "When the certificate of a mail host expires.")
			}
			ends.time(a.Chain[0].NotAfter, "domain", r.Domain, "host", h.Name, "address", a.Address)
		}
	}
	count := map[plan.Severity]int{}
	for _, p := range r.Problems {
		count[p.Severity]++
	}
	f := m.family("domain_problems", "Problems of the domain by severity.")
	for _, s := range []plan.Severity{plan.Error, plan.Warning, plan.Notice} {
		f.add(float64(count[s]), "domain", r.Domain, "severity", s.String())
	}
	_, err := io.WriteString(w, m.b.String())
	return err
}
