package doc

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"netctl/test/lab"
)

// A page is a document whose examples are run. They are its code blocks of
// three kinds:
//
//	```console             commands at prompts, with what they print
//	```LANG file=PATH      a file that the reader writes on the default host
//	```LANG paste=HOST     lines that the reader pastes into a host's shell
//
// A prompt is "# ", on the default host, or "HOST# ". A backslash at the end
// of a line continues the command. In what a command prints, "..." stands for
// anything within a line, and alone on a line for any lines; spaces and the
// dashes of tables may be more or fewer.
type page struct {
	name   string
	blocks []block
}

// A block is one code block.
type block struct {
	line        int
	file, paste string // one of them, or neither for commands
	text        string
	steps       []step
}

// A step is a command and what it prints.
type step struct {
	line          int
	host, command string
	output        []string
}

var (
	fence  = regexp.MustCompile("^```(\\S*)(?: (\\w+)=(\\S+))?$")
	prompt = regexp.MustCompile(`^([a-z]*)# (.*)$`)
)

// readPage reads a document of the folder doc.
func readPage(l lab.TB, name string) page {
	l.Helper()
	raw, err := os.ReadFile("../../doc/" + name)
	if err != nil {
		l.Fatalf("%v", err)
	}
	p := page{name: name}
	lines := strings.Split(string(raw), "\n")
	for i := 0; i < len(lines); i++ {
		m := fence.FindStringSubmatch(lines[i])
		if m == nil {
			continue
		}
		b := block{line: i + 2}
		for i++; i < len(lines) && lines[i] != "```"; i++ {
			b.text += lines[i] + "\n"
		}
		switch {
		case m[2] == "file":
			b.file = m[3]
		case m[2] == "paste":
			b.paste = m[3]
		case m[1] == "console":
			b.steps = readSteps(l, name, b)
		default:
			continue // for reading only
		}
		p.blocks = append(p.blocks, b)
	}
	if len(p.blocks) == 0 {
		l.Fatalf("%s has nothing to run", name)
	}
	return p
}

func readSteps(l lab.TB, name string, b block) []step {
	l.Helper()
	var steps []step
	open := false // the command goes on
	for i, line := range strings.Split(strings.TrimSuffix(b.text, "\n"), "\n") {
		m := prompt.FindStringSubmatch(line)
		switch {
		case open:
			s := &steps[len(steps)-1]
			s.command += "\n" + line
		case m != nil:
			steps = append(steps, step{line: b.line + i, host: m[1], command: m[2]})
		case len(steps) == 0:
			l.Fatalf("%s:%d: output before a command", name, b.line+i)
		default:
			s := &steps[len(steps)-1]
			s.output = append(s.output, line)
			continue
		}
		open = strings.HasSuffix(line, `\`)
	}
	return steps
}

// A shell runs a command on a host and returns what it prints.
type shell func(command string) (string, error)

// A world is where a page is run.
type world struct {
	*lab.Lab
	shells map[string]shell             // by host; the default one is ""
	write  func(path, text string)      // writes a file on the default host
	paste  map[string]func(text string) // by host
}

// patience is how long a command may take until it prints what the page says.
const patience = 30 * time.Second

// run runs a page from its beginning to its end.
func (w *world) run(p page) {
	w.Helper()
	for _, b := range p.blocks {
		switch {
		case b.file != "":
			w.write(b.file, b.text)
		case b.paste != "":
			w.paste[b.paste](b.text)
		}
		for _, s := range b.steps {
			w.step(p, s)
		}
	}
}

// step runs one command. When it succeeds and prints something else it is run
// again: routers take their time.
func (w *world) step(p page, s step) {
	w.Helper()
	sh := w.shells[s.host]
	if sh == nil {
		w.Fatalf("%s:%d: there is no host %q", p.name, s.line, s.host)
	}
	want := pattern(s.output)
	first := ""
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		out, err := sh(s.command)
		if err != nil {
			w.Fatalf("%s:%d: %v", p.name, s.line, err)
		}
		if want.MatchString(normal(out)) {
			return
		}
		if first == "" {
			first = out
		}
		if time.Now().After(deadline) {
			w.Fatalf("%s:%d: %s prints\n%s\nat last, and\n%s\nat first; the page says\n%s", p.name, s.line, s.command, out, first, strings.Join(s.output, "\n"))
		}
	}
}

var (
	spaces = regexp.MustCompile(`[ \t]+`)
	rules  = regexp.MustCompile(`-{2,}`)
)

// normal leaves out what may differ.
func normal(out string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(out, "\n") {
		line = strings.TrimRight(rules.ReplaceAllString(spaces.ReplaceAllString(line, " "), "--"), " \r")
		b.WriteString(line + "\n")
	}
	return strings.TrimSpace(b.String()) + "\n"
}

// pattern returns what matches the output that a page shows.
func pattern(lines []string) *regexp.Regexp {
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimSuffix(normal(strings.Join(lines, "\n")), "\n"), "\n") {
		if line == "..." {
			b.WriteString(`(.*\n)*`)
			continue
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), `\.\.\.`, `.*`) + `\n`)
	}
	return regexp.MustCompile(fmt.Sprintf(`^%s$`, b.String()))
}
