// Package kubernetes checks deploy/kubernetes against the types of Kubernetes: a key that
// there is not, a word that stands in the wrong place and a value of the wrong kind are
// refused, as the API server would refuse them. What only a server can decide (names of
// images, rights, whether a volume can be had) is not checked.
//
// It is a module of its own, because these types are more code than the rest of the program
// depends on: neither the program nor its tests need them.
package kubernetes

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/json"
	strict "sigs.k8s.io/yaml"
)

// kinds are the types of what the manifest has, by apiVersion and kind.
var kinds = map[string]func() any{
	"v1 Service": func() any { return &corev1.Service{} }, "policy/v1 PodDisruptionBudget": func() any { return &policyv1.PodDisruptionBudget{} },
	"apps/v1 StatefulSet": func() any { return &appsv1.StatefulSet{} },
}

// check reads each document of a manifest into the type of its kind, strictly.
func check(text []byte) (docs []any, err error) {
	for in := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		doc, next := in.Read()
		if errors.Is(next, io.EOF) {
			return docs, err
		}
		if next != nil {
			return docs, errors.Join(err, next)
		}
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
		}
		if wrong := strict.Unmarshal(doc, &head); wrong != nil {
			err = errors.Join(err, wrong)
			continue
		}
		fresh := kinds[head.APIVersion+" "+head.Kind]
		if fresh == nil {
			err = errors.Join(err, errors.New("there is no kind "+head.APIVersion+" "+head.Kind+" here: add its type to kinds"))
			continue
		}
		into := fresh()
		text, wrong := strict.YAMLToJSONStrict(doc)
		if wrong == nil { // the letters of a key count, as they do for the API server
			var found []error
			found, wrong = json.UnmarshalStrict(text, into)
			wrong = errors.Join(append(found, wrong)...)
		}
		err = errors.Join(err, wrong)
		docs = append(docs, into)
	}
}

func manifest(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("../../../deploy/kubernetes/loopmesh.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTheManifestIsWhatKubernetesReads(t *testing.T) {
	docs, err := check(manifest(t))
	if err != nil || len(docs) != len(kinds) {
		t.Fatalf("%d documents: %v", len(docs), err)
	}
	for _, d := range docs {
		set, ok := d.(*appsv1.StatefulSet)
		if !ok {
			continue
		}
		pod := set.Spec.Template.Spec
		if c := pod.Containers[0]; *set.Spec.Replicas != 3 || c.ReadinessProbe.HTTPGet.Path != "/readyz" || c.Lifecycle.PreStop.Exec.Command[1] != "drain" || !*pod.SecurityContext.RunAsNonRoot || !*c.SecurityContext.ReadOnlyRootFilesystem {
			t.Errorf("%+v", c)
		}
		if memory := pod.Containers[0].Resources.Limits.Memory(); memory.Value() != 512<<20 {
			t.Errorf("the limit is %v", memory)
		}
	}
}

// TestMistakesAreFound: faults that people make, and that a look at the text misses.
func TestMistakesAreFound(t *testing.T) {
	good := string(manifest(t))
	for from, to := range map[string]string{
		"readinessProbe:":      "readynessProbe:",
		"maxUnavailable: 1":    "maxUnavailible: 1",
		"replicas: 3":          "replicas: three",
		"publishNotReady":      "publishNotready",
		"httpGet: {path: /liv": "httpget: {path: /liv",
		"memory: 512Mi":        "memory: 512Megs",
		"kind: Service":        "kind: Servise",
		"runAsNonRoot: true":   "runAsNonRoot: sure",
		"serviceName: ":        "service: ",
	} {
		bad := strings.Replace(good, from, to, 1)
		if bad == good {
			t.Errorf("the manifest has no %q any more", from)
		}
		if _, err := check([]byte(bad)); err == nil {
			t.Errorf("%s in the place of %s was taken", to, from)
		}
	}
}
