package pickup

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailcertd/internal/certdir"
	"mailcertd/internal/mta"
	"mailcertd/internal/openssltest"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// Two pairs are proven when both are served, each to a client that accepts only its key type.
func TestTwoPairsProven(t *testing.T) {
	openssltest.Need(t)
	dir := t.TempDir()
	file := func(n string) string { return filepath.Join(dir, n) }
	pair := func(n, serial string, args ...string) {
		t.Helper()
		if out, err := exec.Command("openssl",
			append([]string{"req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=" + n, "-set_serial", serial,
				"-keyout", file(n + ".key"), "-out", file(n + ".cert")}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	ec := []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"}
	pair("host", "0x11", "-newkey", "rsa:2048")
	pair("host-ecdsa", "0x22", ec...)
	pair("older", "0x33", ec...)
	cf := "O ServerCertFile=" + file("host.cert") + "," + file("host-ecdsa.cert") + "\nO ServerKeyFile=" +
		file("host.key") + "," + file("host-ecdsa.key") + "\n"
	if err := os.WriteFile(file("sendmail.cf"), []byte(cf), 0o644); err != nil {
		t.Fatal(err)
	}
	var r View
	r.Observed.CF, r.Observed.Certs = mta.ReadCF(file("sendmail.cf")), certdir.Observe(dir)
	r.Plan.Facts.LeafID = pki.Fingerprint(r.Observed.Certs.Cert.File.Certs[0])
	for name, c := range map[string]struct {
		second string // the certificate that is served beside host
		left   bool   // sendmail cannot load the second pair
		want   string // in the outcome's detail, or in the error
		err    error
	}{
		"both":                  {"host-ecdsa", false, "it serves the second pair too, serial 22", nil},
		"the second one before": {"older", false, "it serves serial 33, but on disk is serial 22", errServesAnother},
		"no second one": {"", false, "it serves no ECDSA certificate, but on disk is serial 22",
			errServesAnother},
		"no second one, and it cannot": {"", true, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := r
			if c.left {
				r.Plan.Facts.Verdict.Complaints = []mta.Complaint{{Path: file("host-ecdsa.key"), Of: mta.SecondServer}}
			}
			args := []string{"-cert", file("host.cert"), "-key", file("host.key")}
			if c.second != "" {
				args = append(args, "-dcert", file(c.second+".cert"), "-dkey", file(c.second+".key"))
			}
			addr := openssltest.Server(t, args...)
			a := asker{at: []mta.Endpoint{{Addr: addr, TLS: true}}, helo: "probe.example.org", families: families(&r)}
			got, err := a.prove(t.Context(), &r)
			if c.err != nil {
				if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("want %q, got %v", c.want, err)
				}
				return
			}
			if err != nil || got.Result != plan.Proven || got.Serial != "11" || got.Detail != c.want {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}
