package mta

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// realSendmail returns a function that runs sendmail itself, with a qualified host name of its own: with an unqualified
// one it sleeps for a minute. Without sendmail the test is skipped.
func realSendmail(t *testing.T, under ...string) func(stdin string, args ...string) string {
	t.Helper()
	const program = "/usr/libexec/sendmail/sendmail"
	if os.Getuid() != 0 {
		t.Skip("needs root, for a host name of its own")
	}
	for _, p := range append([]string{"unshare", "timeout", program}, under[:min(1, len(under))]...) {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(err)
		}
	}
	return func(stdin string, args ...string) string {
		cmd := exec.Command("timeout",
			append(append([]string{"30", "unshare", "-u", "sh", "-c", `hostname mail.example.org && exec "$@"`, "sh"},
				under...), append([]string{program}, args...)...)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, _ := cmd.CombinedOutput() // its exit status says little
		return string(out)
	}
}

// Every abbreviation of every option that matters means the same to us as to sendmail: the option, or nothing.
func TestAbbreviationsAsSendmail(t *testing.T) {
	sendmail := realSendmail(t)
	var written []string
	for o := range strings.FieldsSeq("ServerCertFile ServerKeyFile ClientCertFile ClientKeyFile CACertFile " +
		"CACertPath DHParameters CRLFile CRLPath " +
		"PidFile RunAsUser TrustedUser DontBlameSendmail DaemonPortOptions") {
		for n := 1; n <= len(o); n++ {
			written = append(written, o[:n], strings.ToLower(o[:n]), o[:n]+".sub")
		}
		written = append(written, o+"X", o+" ", " "+o)
	}
	var cf strings.Builder
	cf.WriteString("V10/Berkeley\n")
	for i, w := range written {
		cf.WriteString(fmt.Sprintf("O %s=%d\n", w, i+1000))
	}
	path := filepath.Join(t.TempDir(), "x.cf")
	if err := os.WriteFile(path, []byte(cf.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	theirs := map[int]string{}
	for _, m := range regexp.MustCompile(`(?m)^setoption (\w+) \([^)]*\)(?:\.\w+)?=(\d{4})\b`).FindAllStringSubmatch(
		sendmail("", "-C", path, "-d37.1", "-bt"), -1) {
		n, _ := strconv.Atoi(m[2])
		theirs[n-1000] = m[1]
	}
	if len(theirs) < 100 {
		t.Fatalf("sendmail logged %d options", len(theirs))
	}
	for i, w := range written {
		var cf CF
		name, _, _ := cf.splitOption(" " + w + "=x")
		if name != theirs[i] {
			t.Errorf("%q: %q, sendmail reads it as %q", w, name, theirs[i])
		}
	}
}

// The paths that we read from a cf are the paths that sendmail opens.
func TestPathsAsSendmail(t *testing.T) {
	sendmail := realSendmail(t, "strace", "-f", "-s", "200", "-e", "trace=%file")
	for _, text := range []string{
		"O ServerCertFile=/mta-seen/plain\n",
		"D{CDIR}/mta-seen/long\nO ServerCertFile=${CDIR}/a\nD{CDIR}/later\n",
		"DX/mta-seen/short\nO ServerC=$X/a\n",
		"D{A}/mta-seen\nD{B}${A}/nested\nO servercertfile = ${B}/a # comment\n",
		"DX/mta-seen\nO ServerCertFile=$X$?X/yes$|/no$./$?{none}yes$|else$./x${none}y\n",
		"DX/mta-seen\nO ServerCertFile=$X/$?Y$?X1$|2$.$|3$?X4$|5$.$./end\n",
		"O ServerCertFile=/mta-seen/a\\#b\n",
		"O ServerCertFile=/mta-seen/first\nO ServerCertFile=/mta-seen/last\n",
		"O ServerCertFile=/mta-seen/two,/mta-seen/second\n",
		"D{my_dir}/mta-seen/under\nO ServerCertFile=${my_dir}/a\n",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.cf")
		body := "V10/Berkeley\nO QueueDirectory=" + dir + "\n" + text +
			"O ServerKeyFile=/none\nO CACertFile=/none\nO CACertPath=/none\n" +
			"Mlocal, P=/bin/true, F=lsDFMAw5:/|@qSPfhn9, A=true\nMprog, P=/bin/true, F=lsDFMAw5:/|@qSPfhn9, A=true\n"
		if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
		out := sendmail("QUIT\r\n", "-C", path, "-bs")
		m := regexp.MustCompile(`stat\w*\((?:AT_FDCWD, )?"([^"]*mta-seen/[^"]*)"`).FindStringSubmatch(out)
		if m == nil {
			t.Errorf("%q: sendmail opened no file:\n%.300s", text, out)
			continue
		}
		ours := ParseCF([]byte(body)).ServerCert
		if len(ours) == 0 || ours[0] != m[1] {
			t.Errorf("%q: %q, sendmail opens %q", text, ours, m[1])
		}
	}
}
