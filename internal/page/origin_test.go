package page

import (
	"testing"

	"mailcertd/internal/report"
)

// Every origin has a description.
func TestOriginWords(t *testing.T) {
	p := &Page{Zone: tokyo, Now: today, Width: 80}
	for _, c := range []struct {
		from  report.Origin
		words string
	}{
		{report.FromHere, "issued by the CA on this host"},
		{report.FromElsewhere, "issued by the CA on krb5.example"},
		{report.FromACME, "issued by an ACME CA"},
		{report.FromMailcertd, "made by mailcertd, with a CA that no longer exists"},
		{report.FromInterim, "interim, self-signed by mailcertd until an issuer can sign"},
		{report.FromBaseSystem, "made by the base system (rc.d/sendmail)"},
		{report.FromPerson, "installed by hand on 2026-03-03"},
		{report.FromAnotherCA, "issued by another CA"},
		{report.FromItself, "self-signed, not by mailcertd"},
		{report.FromUnknown, "of unknown origin"},
	} {
		if text := originWords(c.from, "mailcertd@krb5.example", daysPtr(-90), p); text != c.words {
			t.Errorf("%s: %q, want %q", c.from, text, c.words)
		}
	}
	if text := originWords(report.FromPerson, "", nil, p); text != "installed by hand" {
		t.Errorf("at a time that is not known: %q", text)
	}
}
