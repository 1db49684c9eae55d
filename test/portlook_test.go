package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

const portDir = "../ports/security/mailcertd"

// portBlocks are the blocks of a port's Makefile in the order that portclippy requires, each with its variables in
// order. Variables that portclippy does not know come last.
var portBlocks = [][]string{
	{"PORTNAME", "DISTVERSION", "PORTREVISION", "PORTEPOCH", "CATEGORIES", "MASTER_SITES"},
	{"MAINTAINER", "COMMENT", "WWW"},
	{"LICENSE", "LICENSE_FILE"},
	{"BUILD_DEPENDS", "RUN_DEPENDS"},
	{"USES", "USE_RC_SUBR"},
	{"GO_TARGET", "GO_BUILDFLAGS", "CGO_ENABLED"},
	{"SUB_FILES", "SUB_LIST"},
	{"PIE_UNSAFE"}, {"RELEASED"},
}

// needPort skips the test in a release, which does not contain the port.
func needPort(t *testing.T, programs ...string) {
	t.Helper()
	if _, err := os.Stat(portDir); err != nil {
		t.Skip("a release has no ports/: this belongs to the repository")
	}
	bed.Need(t, false, programs...)
}

// portVar is the value of a variable of the port, as make expands it.
func portVar(t *testing.T, name string) string {
	t.Helper()
	tree, err := filepath.Abs("portstree")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bmake", "-r", "-m", tree, "-V", name)
	cmd.Dir = portDir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
	return strings.TrimSpace(string(out))
}

func portFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(portDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPortMakefileBlocks(t *testing.T) {
	needPort(t)
	text := portFile(t, "Makefile")
	if !strings.HasPrefix(text, "PORTNAME=") || !strings.HasSuffix(text, "\n\n.include <bsd.port.mk>\n") {
		t.Error("want PORTNAME first and bsd.port.mk last")
	}
	assignment := regexp.MustCompile(`^([A-Z_]+)[?+:]?=(\s*)`)
	block, place, fresh := -1, -1, true
	for i, line := range strings.Split(text, "\n") {
		if line != strings.TrimRight(line, " \t") || strings.HasPrefix(line, " ") {
			t.Errorf("line %d: a blank where a tab or nothing belongs: %q", i+1, line)
		}
		if line == "" {
			fresh = true
		}
		m := assignment.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if strings.Trim(m[2], "\t") != "" || m[2] == "" {
			t.Errorf("line %d: want tabs after =: %q", i+1, line)
		}
		b := slices.IndexFunc(portBlocks, func(names []string) bool { return slices.Contains(names, m[1]) })
		if b < 0 {
			t.Errorf("line %d: %s: the test does not know where it belongs", i+1, m[1])
			continue
		}
		p := slices.Index(portBlocks[b], m[1])
		switch {
		case b < block || b == block && p <= place:
			t.Errorf("line %d: %s comes too late", i+1, m[1])
		case (b == block) == fresh:
			t.Errorf("line %d: %s: one empty line between blocks, and none within", i+1, m[1])
		}
		block, place, fresh = b, p, false
	}
	if block != len(portBlocks)-1 {
		t.Errorf("only %d blocks seen", block+1)
	}
}

func TestPortVariables(t *testing.T) {
	needPort(t, "bmake")
	comment := portVar(t, "COMMENT")
	switch {
	case len(comment) > 70, comment == "":
		t.Errorf("COMMENT has %d characters; want 1 to 70", len(comment))
	case !regexp.MustCompile(`^[A-Z]`).MatchString(comment), strings.HasSuffix(comment, "."):
		t.Errorf("COMMENT %q: want a capital first and no full stop", comment)
	case regexp.MustCompile(`(?i)^(an?|the) |mailcertd`).MatchString(comment):
		t.Errorf("COMMENT %q: neither an article nor the port's name", comment)
	}
	site := release(t, "SITE")
	for name, want := range map[string]string{
		"PORTNAME": "mailcertd", "DISTVERSION": release(t, "VERSION"), "RELEASED": release(t, "RELEASED"),
		"CATEGORIES": "security mail", "LICENSE": "BSD2CLAUSE", "WWW": site, "MASTER_SITES": site,
		"MAINTAINER": release(t, "MAINTAINER"), "USE_RC_SUBR": "mailcertd", "GO_MODULE": "",
	} {
		if got := portVar(t, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if b, err := os.ReadFile("../LICENSE"); err != nil || !strings.HasPrefix(string(b), "BSD 2-Clause License") {
		t.Errorf("LICENSE is not the BSD2CLAUSE of the port: %v", err)
	}
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	uses := regexp.MustCompile(`^go:(\d\.\d+)\+,modules$`).FindStringSubmatch(portVar(t, "USES"))
	if uses == nil || !regexp.MustCompile(`(?m)^go `+regexp.QuoteMeta(uses[1])+`(\.|$)`).Match(mod) {
		t.Errorf("USES %q and go.mod do not want the same Go", portVar(t, "USES"))
	}
}

// release reads a variable of release.mk.
func release(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../release.mk")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + name + ` = (.+)$`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("release.mk: no %s", name)
	}
	return string(m[1])
}

func TestPortTexts(t *testing.T) {
	needPort(t)
	descr := portFile(t, "pkg-descr")
	if strings.Contains(descr, "://") || len(descr) < 200 || strings.Count(descr, "\n") > 24 {
		t.Error("pkg-descr: want a description without addresses, on one screen")
	}
	message := portFile(t, "files/pkg-message.in")
	for name, text := range map[string]string{"pkg-descr": descr, "pkg-message": message} {
		for i, line := range strings.Split(text, "\n") {
			if len(line) > 80 || line != strings.TrimRight(line, " \t") {
				t.Errorf("%s:%d: too long, or a blank at its end: %q", name, i+1, line)
			}
		}
	}
	// A UCL array of one object for each occasion, with a here-document each.
	object := `\{ type: (install|upgrade|remove)\n  message: <<EOM\n((?:[^\n]*\n)+?)EOM\n\}\n`
	if !regexp.MustCompile(`^\[\n(?:` + object + `)+\]\n$`).MatchString(message) {
		t.Error("pkg-message: want [ { type: T message: <<EOM … EOM } … ]")
	}
	said := map[string]string{}
	for _, m := range regexp.MustCompile(object).FindAllStringSubmatch(message, -1) {
		said[m[1]] += m[2]
	}
	for occasion, words := range map[string][]string{
		"install": {"mailcertd_enable=YES", "sendmail_cert_create", "%%PREFIX%%/etc/mailcertd.yaml"},
		"upgrade": {"service mailcertd restart"},
		"remove":  {"/etc/mail/certs", "/etc/mail/CA", "/var/db/mailcertd", "mailcertd purge"},
	} {
		for _, w := range words {
			if !strings.Contains(said[occasion], w) {
				t.Errorf("pkg-message, %s: does not mention %s", occasion, w)
			}
		}
	}
}
