package test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"mailcertd/test/bed"
)

const manual = "../man/mailcertd.8"

// mandoc must have no complaint about the pages.
func TestManualLint(t *testing.T) {
	t.Parallel()
	bed.Need(t, false, "mandoc")
	pages, err := os.ReadDir("../man")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range pages {
		if !regexp.MustCompile(`\.[58]$`).MatchString(p.Name()) {
			continue
		}
		n++
		if out, err := exec.Command("mandoc", "-T", "lint", "-W", "warning",
			"../man/"+p.Name()).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", p.Name(), err, out)
		}
		out, err := exec.Command("mandoc", "-T", "ascii", "-O", "width=78", "../man/"+p.Name()).Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(overstruck.ReplaceAllString(string(out), ""), "\n") {
			if len(line) > 78 {
				t.Errorf("%s: %d columns: %q", p.Name(), len(line), line)
			}
		}
	}
	if n == 0 {
		t.Error("no pages")
	}
}

// overstruck matches the backspaces by which mandoc writes bold and underlined letters.
var overstruck = regexp.MustCompile(`.\x08`)

// words removes from a text what differs between two renderings of it.
func words(text string) string {
	return strings.Join(strings.Fields(regexp.MustCompile("[`'\"]").ReplaceAllString(text, "")), " ")
}

// help REASON must print the same words as mandoc does for that paragraph.
func TestHelpReadsAsTheManual(t *testing.T) {
	t.Parallel()
	bed.Need(t, false, "mandoc")
	out, err := exec.Command("mandoc", "-T", "ascii", "-O", "width=78", manual).Output()
	if err != nil {
		t.Fatal(err)
	}
	page := overstruck.ReplaceAllString(string(out), "")
	_, page, _ = strings.Cut(page, "\nDIAGNOSTICS\n")
	page, _, _ = strings.Cut(page, "\n   Faults of the CA directory\n")
	items := regexp.MustCompile(`(?m)^     \[([a-z-]+)\]`).FindAllStringSubmatchIndex(page, -1)
	if len(items) < 50 {
		t.Fatalf("%d reasons in the page", len(items))
	}
	m := bed.Binary(t, "")
	for i, at := range items {
		end := len(page)
		if i+1 < len(items) {
			end = items[i+1][0]
		}
		name, text := page[at[2]:at[3]], page[at[0]:end]
		// The next heading, and a sentence before the next list, are not part of the item.
		text = regexp.MustCompile(`(?m)^(   \S|     [^ \[]).*$`).ReplaceAllString(text, "")
		text = regexp.MustCompile(`(\pL-)\n +`).ReplaceAllString(text, "$1") // a word that was divided at its hyphen
		got, err := exec.Command(m, "help", "["+name+"]").Output()
		said := strings.ReplaceAll(words(string(got)), " in mailcertd(8)", "") // where it names a section of the page
		if err != nil || said != strings.ReplaceAll(words(text), " in mailcertd(8)", "") {
			t.Errorf("%s: %v\nhelp says   %s\nthe page is %s", name, err, said, words(text))
		}
	}
}

// example is one command of the section EXAMPLES.
type example struct {
	line          int
	command, host string // host is krb5 where the text names none
}

func readExamples(t *testing.T) []example {
	t.Helper()
	data, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	var out []example
	in, display := false, false
	for i, line := range strings.Split(string(data), "\n") {
		command, isLine := strings.CutPrefix(line, ".Dl ")
		switch {
		case strings.HasPrefix(line, ".Sh "):
			in = line == ".Sh EXAMPLES"
			continue
		case !in:
			continue
		case strings.HasPrefix(line, ".Bd "):
			display = true
			continue
		case line == ".Ed":
			display = false
			continue
		case display:
			command = line
		case !isLine:
			continue
		}
		command, host, _ := strings.Cut(command, "# on ")
		if host == "" {
			host = "krb5"
		}
		out = append(out, example{line: i + 1, command: strings.TrimSpace(command), host: host})
	}
	if len(out) == 0 {
		t.Fatal("no examples")
	}
	return out
}

// exampleSays has a regular expression for the output of each example. An example that is not listed fails the test.
var exampleSays = map[string]string{
	"sysrc mailcertd_enable=YES":                  `^$`,
	"service mailcertd start":                     `sendmail serves serial [0-9A-F]{16} at 127\.0\.0\.1:25|sendmail serves`,
	"mailcertd status":                            `seen to serve this certificate|started after the last change`,
	"mailcertd check":                             `everything is in order|(?m)^notice: /etc/mail/submit\.cf: names no CA`,
	"mailcertd help cf-no-tls":                    `make -C /etc/mail install restart`,
	"service mailcertd renew":                     `sendmail serves serial [0-9A-F]{16} at`,
	"service mailcertd renew --rekey":             `made a new .* key[^$]*not answered whether there are TLSA records`,
	"mailcertd restore --list":                    `asked +.*host\.cert`,
	"mailcertd --root ./demo ensure":              `demo/etc/mail/certs/host\.cert: `,
	"mailcertd request > dhcp.csr":                `^$`,
	"scp dhcp.csr krb5.home.example:":             ``,
	"mailcertd sign dhcp.csr > dhcp.pem":          `names +mail-b\.example\.test`,
	"scp krb5.home.example:dhcp.pem .":            ``,
	"mailcertd install dhcp.pem":                  `sendmail serves serial [0-9A-F]{16} at|sendmail: seen by the daemon`,
	"mailcertd issue mx2.home.example -o mx2.pem": `mx2\.pem: key and certificate`,
	"mailcertd check --peer dhcp.home.example":    `verdict +verify=OK`,
	"mailcertd check --peer krb5.home.example":    `verdict +verify=OK`,
	"mailcertd check --dane home.example":         `(?i)DNS`, // there is no name server, which is its exit status
	"mailcertd renew --rekey --now":               `somebody asked for a new key[^$]*sendmail serves serial [0-9A-F]{16} at`,
	"mailcertd ca enrol dhcp.home.example":        `(?s)is enrolled\..*restrict,from=.*issuer:`,
	"mailcertd list":                              `valid .*mail-b\.example\.test`,
	"mailcertd ca unenrol dhcp.home.example":      `revoked [0-9A-F]{16}`,
	"mailcertd ca show":                           `CERTIssuer:/`,
	"mailcertd status --json | grep days_left":    `"days_left": 36\d,`,
}

// The test runs every command of EXAMPLES, in order, on two hosts with a real sendmail each.
func TestManualExamples(t *testing.T) {
	t.Parallel()
	bed.Need(t, true, "openssl", "script", "/usr/sbin/sshd", "ssh", "scp", "bash")
	p := newPost(t)
	hosts := map[string]*bed.Host{"krb5": p.hosts["a"], "dhcp": p.hosts["b"]}
	write(t, hosts["dhcp"].Path("/var/tmp/mailcertd.yaml"), "issuer: none\n", 0o644)
	// The text above the example says to copy it.
	hosts["dhcp"].Must(t, "cp", "/var/tmp/mailcertd.yaml", "/usr/local/etc/mailcertd.yaml")
	run := map[string]bool{}
	for _, e := range readExamples(t) {
		want, known := exampleSays[e.command]
		h := hosts[e.host]
		if !known || h == nil {
			t.Errorf("line %d: no test knows what this says, on the host %q: %s", e.line, e.host, e.command)
			continue
		}
		run[e.command] = true
		begun := time.Now()
		out, err := onTTY(h, "sh", "-ec", "cd /root; "+postNames.Replace(e.command))
		t.Logf("line %d, %.1f s: %s\n%s", e.line, time.Since(begun).Seconds(), e.command, out)
		if (err != nil) != strings.Contains(e.command, "--dane") || !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("line %d: %s: %v, want %s\n%s", e.line, e.command, err, want, out)
		}
	}
	for command := range exampleSays {
		if !run[command] {
			t.Errorf("the manual has no such example: %s", command)
		}
	}
	hosts["krb5"].Must(t, "service", "mailcertd", "stop")
}
