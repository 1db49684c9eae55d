package report

import (
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/ca"
)

// The certificates of all pairs are samples of one metric, the host's own once; the served certificate is reported for
// each pair.
func TestMetricsOfPairs(t *testing.T) {
	end := time.Unix(1800000000, 0)
	one := func(file, serial string) *Certificate {
		return &Certificate{Path: "/c/" + file, Serial: serial, NotAfter: end, Renewal: &end}
	}
	host := one("host.cert", "1A")
	r := Status{Certificate: host, Pairs: []Pair{{Name: "host", Certificate: host},
		{Name: "host-ecdsa", Certificate: one("host-ecdsa.cert", "1B")}, {Name: "client"}},
		Serves: []Served{{Addr: "127.0.0.1:25", Pair: "host", OnDisk: true},
			{Addr: "127.0.0.1:25", Pair: "host-ecdsa"}}}
	var b strings.Builder
	if err := WriteMetrics(&b, r); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`mailcertd_certificate_not_after_timestamp_seconds{file="/c/host.cert",serial="1A"} 1800000000`,
		`mailcertd_certificate_not_after_timestamp_seconds{file="/c/host-ecdsa.cert",serial="1B"} 1800000000`,
		`mailcertd_certificate_renewal_timestamp_seconds{file="/c/host-ecdsa.cert",serial="1B"} 1800000000`,
		`mailcertd_serves_disk{address="127.0.0.1:25",pair="host"} 1`,
		`mailcertd_serves_disk{address="127.0.0.1:25",pair="host-ecdsa"} 0`,
	} {
		if strings.Count(b.String(), line+"\n") != 1 {
			t.Errorf("want once %s in\n%s", line, b.String())
		}
	}
}

// A row of the CA's database is matched to an installed certificate by serial number and end.
func TestInstalledHere(t *testing.T) {
	end := time.Unix(1800000000, 0).UTC()
	here := Installed{"host": {SerialNumber: big.NewInt(1), NotAfter: end},
		"client": {SerialNumber: big.NewInt(2), NotAfter: end}}
	for _, c := range []struct {
		serial string
		end    time.Time
		want   string
	}{{"01", end, "host"}, {"02", end, "client"}, {"02", end.Add(time.Hour), ""}, {"03", end, ""}} {
		l := NewListed(ca.Observed{}, ca.Listed{Serial: c.serial, Expires: c.end}, here, end)
		if l.Pair != c.want {
			t.Errorf("%s: %q, want %q", c.serial, l.Pair, c.want)
		}
	}
	var none map[string]*x509.Certificate
	if l := NewListed(ca.Observed{}, ca.Listed{Serial: "01", Expires: end}, none, end); l.Pair != "" {
		t.Errorf("nothing is installed, got %q", l.Pair)
	}
}
