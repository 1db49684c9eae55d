package report

import "time"

// windowMetrics are about the windows in which an ACME CA wants certificates to be renewed.
func windowMetrics(m *metrics, all []*Certificate, which func(*Certificate) []string) {
	for _, of := range []struct {
		name, help string
		at         func(Window) *time.Time
	}{
		{"certificate_window_start_timestamp_seconds", "When the ACME CA wants the renewal at the earliest.",
			func(w Window) *time.Time { return w.Start }},
		{"certificate_window_end_timestamp_seconds", "When the ACME CA wants the renewal at the latest.",
			func(w Window) *time.Time { return w.End }},
		{"certificate_window_poll_timestamp_seconds", "When the ACME CA is asked for its window again.",
			func(w Window) *time.Time { return w.Poll }},
	} {
		var f *family
		for _, c := range all {
			if c.Window == nil || of.at(*c.Window) == nil {
				continue
			}
			if f == nil {
				f = m.family(of.name, of.help)
			}
			f.time(*of.at(*c.Window), which(c)...)
		}
	}
}

// acmeMetrics are about the ACME CA, nil where none is configured, and the orders that have given no certificate.
func acmeMetrics(m *metrics, a *ACMECA) {
	if a == nil {
		return
	}
	m.family("acme_info", "The ACME CA: its directory, the account there, and the profile of the last order.").add(1,
		"directory", a.Directory, "account", a.Account, "profile", a.Profile)
	if len(a.Refusals) == 0 {
		return
	}
	which := map[bool]string{false: "first", true: "fallback"}
	each := func(name, help string, add func(*family, Refusal, []string)) {
		f := m.family(name, help)
		for _, no := range a.Refusals {
			add(f, no, []string{"pair", no.Pair, "kind", no.Kind, "ca", which[no.Fallback]})
		}
	}
	each("acme_refused_since_timestamp_seconds", "Since when the ACME CA has given no certificate.",
		func(f *family, no Refusal, labels []string) { f.time(no.Since, labels...) })
	each("acme_refused_attempts", "How often the ACME CA has given no certificate since then.",
		func(f *family, no Refusal, labels []string) { f.add(float64(no.Attempts), labels...) })
	each("acme_next_order_timestamp_seconds", "When the ACME CA is asked again.",
		func(f *family, no Refusal, labels []string) { f.time(no.Next, labels...) })
}
