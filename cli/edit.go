package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"netctl/api"
)

// An edit is the way of one object through the editor.
type edit struct {
	what string // the object, for messages
	help string // shown above the text, as comments
	load func(context.Context) (v any, etag string, err error)
	save func(ctx context.Context, text []byte, etag string) (revision int64, err error)
}

// run lets the user edit the object, or takes its new text from the input when
// that is not a terminal and has any. It returns the revision that was written,
// or 0 when the text was left as it is.
func (e edit) run(ctx context.Context, a *app) (int64, error) {
	if !a.Terminal {
		text, err := io.ReadAll(a.In)
		if err != nil {
			return 0, err
		}
		if len(bytes.TrimSpace(text)) > 0 {
			return e.save(ctx, text, "")
		}
	}
	v, etag, err := e.load(ctx)
	if err != nil {
		return 0, err
	}
	body, err := toYAML(v)
	if err != nil {
		return 0, err
	}
	path, err := tempFile()
	if err != nil {
		return 0, err
	}
	revision, err := e.loop(ctx, a, path, []byte(body), etag)
	if err == nil || errors.Is(err, errUntouched) {
		return revision, os.Remove(path)
	}
	if text, readErr := os.ReadFile(path); readErr == nil && bytes.Equal(withoutComments(text), []byte(body)) {
		return 0, errors.Join(err, os.Remove(path))
	}
	return 0, fmt.Errorf("%w\nYour text is kept in %s", err, path)
}

// errUntouched says that the user has changed nothing that would be lost.
var errUntouched = errors.New("nothing was changed")

// loop opens the editor until the text can be saved or the user gives up.
func (e edit) loop(ctx context.Context, a *app, path string, body []byte, etag string) (int64, error) {
	answers := bufio.NewReader(a.In)
	original, problem := body, ""
	for attempt := 1; ; attempt++ {
		if err := os.WriteFile(path, append(comments(e.help, problem), body...), 0o600); err != nil {
			return 0, err
		}
		if err := a.openEditor(ctx, path); err != nil {
			return 0, err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		body = withoutComments(text)
		if bytes.Equal(body, original) {
			return 0, errUntouched
		}
		revision, err := e.save(ctx, body, etag)
		if err == nil {
			return revision, nil
		}
		if api.ErrorCode(err) == api.Precondition {
			return 0, fmt.Errorf("%s was changed by somebody else while you edited it: %w", e.what, err)
		}
		problem = err.Error()
		if !a.again(answers, problem, path, attempt) {
			return 0, err
		}
	}
}

// again tells what is wrong with the text and reports whether the user wants
// to edit it once more. An editor that nobody sits at gets some attempts.
func (a *app) again(answers *bufio.Reader, problem, path string, attempt int) bool {
	const unattended = 5
	if !a.Terminal {
		return attempt < unattended
	}
	const prompt = "Error: %s\nPress enter to edit it again, or Ctrl-C to give up; your text is in %s. "
	if _, err := fmt.Fprintf(a.Err, prompt, problem, path); err != nil {
		return false
	}
	if _, err := answers.ReadString('\n'); err != nil {
		_, _ = fmt.Fprintln(a.Err)
		return false
	}
	return true
}

// openEditor runs the editor of the user's choice on a file.
func (a *app) openEditor(ctx context.Context, path string) error {
	editor := "vi"
	for _, name := range []string{"VISUAL", "EDITOR"} {
		if v := strings.TrimSpace(a.Getenv(name)); v != "" {
			editor = v
			break
		}
	}
	words := append(strings.Fields(editor), path)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = a.Out, a.Err
	if f, ok := a.In.(*os.File); ok {
		cmd.Stdin = f // anything else would be copied, and so eaten up
	}
	// The terminal sends Ctrl-C to us as well; it is meant for the editor.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("editor %q: %w", editor, err)
	}
	return nil
}

// tempFile makes a file that only its owner can read.
func tempFile() (string, error) {
	f, err := os.CreateTemp("", "netctl-*.yaml")
	if err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

// comments returns paragraphs as comments of YAML.
func comments(paragraphs ...string) []byte {
	var b bytes.Buffer
	for _, p := range paragraphs {
		if p == "" {
			continue
		}
		for line := range strings.SplitSeq(p, "\n") {
			b.WriteString(strings.TrimRight("### "+line, " ") + "\n")
		}
		b.WriteString("###\n")
	}
	return b.Bytes()
}

// withoutComments is the inverse of comments: it takes only ours away, from
// the head of text.
func withoutComments(text []byte) []byte {
	for bytes.HasPrefix(text, []byte("###")) {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return text
}

// decodeYAML decodes what a user wrote of an object with a configuration, as
// decodeFields does. A missing config is an error: it would unset everything.
// So is a missing field of those in also.
func decodeYAML(text []byte, v any, also ...string) error {
	var fields map[string]any
	if err := yaml.Unmarshal(text, &fields); err != nil {
		return err
	}
	if _, ok := fields["config"]; !ok {
		return errors.New(`the text has no "config": write "config: {}" to unset every key`)
	}
	for _, name := range also {
		if _, ok := fields[name]; !ok {
			return fmt.Errorf(`the text has no %q: write "%[1]s: {}" to remove all of them`, name)
		}
	}
	return decodeFields(text, v)
}

// decodeFields decodes what a user wrote. Fields that v does not have are
// errors, for what is misspelt would be lost.
func decodeFields(text []byte, v any) error {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	err := d.Decode(v)
	if wrong, ok := errors.AsType[*yaml.TypeError](err); ok {
		for i, text := range wrong.Errors {
			wrong.Errors[i] = goType.ReplaceAllString(text, "")
		}
	}
	return err
}

// goType is what the decoder says of our types and no user understands.
var goType = regexp.MustCompile(` in type \S+$`)
