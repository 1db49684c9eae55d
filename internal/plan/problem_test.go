package plan

import "testing"

// The message does not repeat the path of the problem when the error begins with that path.
func TestProblemSaysItsPathOnce(t *testing.T) {
	var f finding
	f.report(Problem{Path: "/etc/mail/CA", Text: "/etc/mail/CA: is not a directory"})
	f.report(Problem{Path: "/etc/mail/CA", Text: "lstat /etc/mail/CA: permission denied"})
	for i, want := range []string{"is not a directory", "lstat /etc/mail/CA: permission denied"} {
		if got := f.problems[i].Text; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestCounted(t *testing.T) {
	for n, want := range map[int]string{0: "0 days", 1: "1 day", 30: "30 days"} {
		if got := counted(n, "day"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
