package mta

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Options and macros are parsed as sendmail's readcf() does.
func TestOptionLines(t *testing.T) {
	for _, c := range []struct {
		name, cf string
		argv     []string
		want     CF
	}{
		{"macros",
			"D{CDIR}/etc/mail/certs\nDX/xx\nD{NEST}${CDIR}/deep\nO CACertPath=${CDIR}\nO " +
				"CACertFile=${CDIR}/cacert.pem\n" +
				"O ServerCertFile=$X/a,${NEST}/b\nO CRLFile=/c${undefined}/$&{CDIR}\nO " +
				"DHParameters=/a$?X$X$|no$./$?{none}yes$|else$.\nD{CDIR}/later\n" +
				"O PidFile=${CDIR}/pid\nO ClientCertFile=/100$$\n", nil,
			CF{CACertPath: "/etc/mail/certs", CACert: "/etc/mail/certs/cacert.pem",
				ServerCert: []string{"/xx/a", "/etc/mail/certs/deep/b"},
				CRL:        "/c/$&{CDIR}", DH: "/a/xx/else", PidFile: "/later/pid", ClientCert: []string{"/100$"}}},
		{"a macro of itself", "DX$X\nDY$Z\nDZ$Y\nO CACertFile=/a\nO CRLFile=${NO}\n", nil, CF{CACert: "/a"}},
		{"abbreviations",
			"O CACertF=/a\nO servercert=/b\nO DHP=/c\nO CRLF=/d\nO Pid=/e\nO Trusted=root\nO RunAs=mail\nO " +
				"Client=/no\nO CACertP.sub=/f\n", nil,
			CF{CACert: "/a", ServerCert: []string{"/b"}, DH: "/c", CRL: "/d", PidFile: "/e", TrustedUser: "root",
				RunAsUser: "mail", CACertPath: "/f",
				Problems: []string{"the option name Client is ambiguous: sendmail ignores the line"}}},
		{"lines that are not options",
			"O\tCACertFile=/tab\nOCACertFile=/nospace\nO CACertFile\t=/tabname\nO CACertFileX=/long\n O " +
				"CACertFile=/continued\n#O CACertFile=/comment\n", nil, CF{}},
		{"comments", "O CACertFile=/a # why\nO CACertPath=/b\\#c\nO ServerCertFile=/d#e\n", nil,
			CF{CACert: "/a", CACertPath: "/b#c", ServerCert: []string{"/d"}}},
		{"an old letter", "OOPort=26\n", nil, CF{Listeners: []Listener{{Family: "inet", Port: "26"}}}},
		{"flags", "O DontBlameSendmail=GroupReadableKeyFile CertOwner;GroupWritableDirPathSafe\n", nil,
			CF{DontBlame: []string{"groupreadablekeyfile", "certowner", "groupwritabledirpathsafe"}}},
		{"the command line overrides the cf", "O ServerCertFile=/a\nO DaemonPortOptions=Port=25\nO CACertFile=/c\n",
			[]string{"sendmail", "-L", "sm-mta", "-bd", "-ODaemonPortOptions=Name=MTA,", "Port=2525", "-O",
				"ServerC=/b", "-oOPort=26", "-q30m"},
			CF{ServerCert: []string{"/b"}, CACert: "/c",
				Listeners: []Listener{{Name: "MTA", Family: "inet", Port: "2525"}, {Family: "inet", Port: "26"}}}},
	} {
		if c.want.PidFile == "" {
			c.want.PidFile = DefaultPidFile
		}
		if c.want.Listeners == nil {
			c.want.Listeners = []Listener{{Family: "inet", Port: "smtp"}}
		}
		if diff := cmp.Diff(c.want, ParseCF([]byte(c.cf), c.argv...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// rc.conf is parsed as rc.d/sendmail does.
func TestRC(t *testing.T) {
	vars := map[string]string{"sendmail_enable": "NO", "sendmail_submit_enable": "yes", "sendmail_flags": "-bd -q30m",
		"sendmail_submit_flags": "-bd -ODaemonPortOptions=Addr=localhost",
		"sendmail_program":      "/usr/local/sbin/sendmail",
		"sendmail_pidfile":      "/run/s.pid", "sendmail_procname": "/usr/local/sbin/sendmail"}
	for enable, want := range map[string][]string{"NO": {"-bd", "-ODaemonPortOptions=Addr=localhost"},
		"YES": {"-bd", "-q30m"}, "NONE": nil} {
		vars["sendmail_enable"] = enable
		got := ReadRC(vars)
		if diff := cmp.Diff(RC{Program: "/usr/local/sbin/sendmail", Procname: "/usr/local/sbin/sendmail",
			PidFile: "/run/s.pid", Flags: want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", enable, diff)
		}
	}
	if got := ReadRC(nil); got.Argv() != nil {
		t.Errorf("nothing is set: %+v", got)
	}
}

// The flags in rc.conf are split into words as sh does.
func TestShellWords(t *testing.T) {
	for text, want := range map[string][]string{
		"":                  nil,
		"  -L sm-mta\t-bd ": {"-L", "sm-mta", "-bd"},
		"-ODaemonPortOptions='Name=MTA, Port=25' -bd": {"-ODaemonPortOptions=Name=MTA, Port=25", "-bd"},
		`-O"DaemonPortOptions=Name=MTA, Addr=::1"`:    {"-ODaemonPortOptions=Name=MTA, Addr=::1"},
		`-OA=b\ c '' "x\"y\z" 'a\b'`:                  {"-OA=b c", "", `x"y\z`, `a\b`},
	} {
		if diff := cmp.Diff(want, shellWords(text)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
		sh, err := exec.Command("sh", "-c", "printf '%s\n' "+text).Output()
		if got := strings.Join(want, "\n") + "\n"; err != nil || string(sh) != got {
			t.Errorf("%q: sh has %q, %v", text, sh, err)
		}
	}
	if !SameOptions([]string{"sendmail", "-ODaemonPortOptions=Name=MTA,", "Port=25"},
		append([]string{"sendmail"}, shellWords("-ODaemonPortOptions='Name=MTA, Port=25'")...)) {
		t.Error("the line in the pid file has no quotes and means the same")
	}
}

// A certificate with another owner is refused unless DontBlameSendmail allows it.
func TestCertOwner(t *testing.T) {
	f := Files{OwnersOK: []uint32{0}}
	for _, v := range []*View{&f.Cert.View, &f.Key.View, &f.CACert.View} {
		v.Path, v.Node.Exists, v.Node.IsRegular, v.Node.UID, v.Node.Mode = "/x", true, true, 1001, 0o600
	}
	for flags, want := range map[string]int{"": 3, "CertOwner": 0, "GroupReadableKeyFile": 3} {
		n := 0
		for _, c := range Judge(ParseCF([]byte("O DontBlameSendmail="+flags+"\nO ServerCertFile=/x\n")), f).Complaints {
			if c.Mend.Kind == MendOwner {
				n++
			}
		}
		if n != min(want, 1) && n != want {
			t.Errorf("%q: %d complaints about an owner, want %d", flags, n, want)
		}
	}
}
