// Package oracles asks the tools that users judge our objects with: Flux, Helm, Argo CD, Prometheus. Only their own code
// has a say here, and files that real runs left behind.
package oracles

import (
	"bytes"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// repository is where this module lies in.
const repository = "../.."

// A verdict by default, and by the stricter variant that also wants Compliant, where there is one.
type verdict struct {
	Default    string `json:"default"`
	Compliance string `json:"compliance,omitempty"`
}

// A row of expected.yaml.
type row struct {
	Kstatus     string   `json:"kstatus"`
	FluxCheck   string   `json:"fluxCheck"`
	FluxCel     verdict  `json:"fluxCel"`
	ArgoCd      verdict  `json:"argoCd"`
	KubectlWait []string `json:"kubectlWait"`
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, path))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// object as a client of the API has it: whole numbers are int64.
func object(t *testing.T, text []byte) *unstructured.Unstructured {
	t.Helper()
	json, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		t.Fatal(err)
	}
	var found unstructured.Unstructured
	if err := found.UnmarshalJSON(json); err != nil {
		t.Fatal(err)
	}
	return &found
}

func table(t *testing.T) map[string]row {
	t.Helper()
	var rows map[string]row
	if err := yaml.UnmarshalStrict(read(t, "tests/fixtures/objects/expected.yaml"), &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) == 0 {
		t.Fatal("expected.yaml has no rows")
	}
	return rows
}

// eachObject runs a test for each row of the table, with the object that it is about.
func eachObject(t *testing.T, test func(t *testing.T, golden *unstructured.Unstructured, expected row)) {
	t.Helper()
	rows := table(t)
	names := make([]string, 0, len(rows))
	for name := range rows {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			test(t, object(t, read(t, "tests/fixtures/objects/"+name+".yaml")), rows[name])
		})
	}
}

// edited is a copy of a golden object, changed.
func edited(t *testing.T, name string, edit func(map[string]any)) *unstructured.Unstructured {
	t.Helper()
	golden := object(t, read(t, "tests/fixtures/objects/"+name+".yaml"))
	edit(golden.Object)
	return golden
}

// withConditions replaces the conditions of a status.
func withConditions(types ...string) func(map[string]any) {
	return func(object map[string]any) {
		conditions := make([]any, 0, len(types))
		for _, kind := range types {
			name, status, _ := strings.Cut(kind, "=")
			conditions = append(conditions, map[string]any{
				"type": name, "status": status, "reason": "Made", "message": "made up: " + name,
				"observedGeneration": object["metadata"].(map[string]any)["generation"],
				"lastTransitionTime": "2026-01-01T00:00:00Z",
			})
		}
		object["status"].(map[string]any)["conditions"] = conditions
	}
}

// fenced are the blocks of a page in a language, split into documents where they are YAML.
func fenced(t *testing.T, page, language string) [][]byte {
	t.Helper()
	var blocks [][]byte
	var block *bytes.Buffer
	for line := range strings.Lines(string(read(t, page))) {
		switch {
		case block == nil && strings.TrimSpace(line) == "```"+language:
			block = &bytes.Buffer{}
		case block != nil && strings.TrimSpace(line) == "```":
			for document := range strings.SplitSeq(block.String(), "\n---\n") {
				blocks = append(blocks, []byte(document+"\n"))
			}
			block = nil
		case block != nil:
			block.WriteString(line)
		}
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no block of %s", page, language)
	}
	return blocks
}
