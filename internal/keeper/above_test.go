package keeper

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailcertd/internal/plan"
)

// The directories above the certs directory belong to other software: what sendmail refuses about them is reported with
// what a person can do, and never changed.
func TestParentsAreToldAndLeftAlone(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("sendmail checks directories only as root")
	}
	for mode, hint := range map[os.FileMode]string{0o777 | os.ModeSticky: "set certs.dir", 0o775: "chmod go-w"} {
		s := newSite(t, "")
		above := filepath.Join(s.root, "etc/mail")
		if err := os.MkdirAll(above, 0o755); err != nil {
			t.Fatal(err)
		}
		d := s.certs("")
		cf := "O ServerCertFile=" + d + "/host.cert\nO ServerKeyFile=" + d + "/host.key\nO CACertFile=" + d +
			"/cacert.pem\nO CACertPath=" + d + "\n"
		if err := os.WriteFile(filepath.Join(above, "sendmail.cf"), []byte(cf), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(above, mode); err != nil {
			t.Fatal(err)
		}
		r := s.settle(plan.Wish{})
		if fi, err := os.Stat(above); err != nil || fi.Mode()&(os.ModePerm|os.ModeSticky) != mode {
			t.Errorf("%v: the directory above it has become %v now (%v)", mode, fi.Mode(), err)
		}
		told := false
		for _, p := range r.Plan.Problems {
			if p.Reason == plan.ModeRefused && p.Path == above && strings.Contains(p.Hint, hint) && !p.Repairable {
				told = true
			}
		}
		if !told {
			t.Errorf("%v: the directory above is not reported: %+v", mode, r.Plan.Problems)
		}
	}
}
