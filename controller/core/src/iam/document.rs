//! Policy documents, with what is only known where they are used left open.

/// What a document leaves open. JSON says the value; CloudFormation and Terraform have a parameter for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Parameter {
    /// The partition of the account, such as `aws-cn`.
    Partition,
    /// The account that the document is for.
    Account,
    /// The controller's `--cluster-id`.
    ClusterId,
    /// The ARN of the controller's own role.
    HubRole,
    /// The external id that the roles ask for.
    ExternalId,
    /// The id of the organisation.
    Organization,
    /// The path of the roles.
    RolePath,
    /// What the names of the roles begin with.
    RolePrefix,
    /// The prefix that some names of endpoint services have in the partition, beside `com.amazonaws`.
    EndpointPrefix,
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Literal(String),
    /// Left open.
    Open(Parameter),
}

/// A string of a document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text(Vec<Piece>);

impl Text {
    /// A text that is only a parameter.
    #[must_use]
    pub fn open(parameter: Parameter) -> Self {
        Self(vec![Piece::Open(parameter)])
    }

    /// The same with more at its end.
    #[must_use]
    pub fn and(mut self, literal: &str) -> Self {
        self.0.push(Piece::Literal(literal.to_owned()));
        self
    }

    /// The same with a parameter at its end.
    #[must_use]
    pub fn then(mut self, parameter: Parameter) -> Self {
        self.0.push(Piece::Open(parameter));
        self
    }

    /// The same with another text at its end.
    #[must_use]
    pub fn followed_by(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Its pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// With a value for each parameter.
    #[must_use]
    pub fn resolve(&self, value: &impl Fn(Parameter) -> String) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Literal(literal) => literal.clone(),
                Piece::Open(parameter) => value(*parameter),
            })
            .collect()
    }
}

impl From<&str> for Text {
    fn from(literal: &str) -> Self {
        Self::default().and(literal)
    }
}

impl From<String> for Text {
    fn from(literal: String) -> Self {
        Self(vec![Piece::Literal(literal)])
    }
}

impl From<Parameter> for Text {
    fn from(parameter: Parameter) -> Self {
        Self::open(parameter)
    }
}

/// Whether a statement allows or denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Allows.
    Allow,
    /// Denies, whatever else allows.
    Deny,
}

/// One comparison of a condition: an operator, a key and the values that it may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The operator, such as `StringEquals`.
    pub operator: &'static str,
    /// The condition key.
    pub key: String,
    /// Any of these will do.
    pub values: Vec<Text>,
}

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Its name: letters and digits.
    pub sid: &'static str,
    /// What it is for, for the documentation.
    pub why: &'static str,
    /// Whether it allows or denies.
    pub effect: Effect,
    /// In a trust policy: the kind of principal and who.
    pub principal: Option<(&'static str, Text)>,
    /// The actions.
    pub actions: Vec<String>,
    /// The resources; a trust policy has none.
    pub resources: Vec<Text>,
    /// All of these have to hold.
    pub conditions: Vec<Comparison>,
}

impl Statement {
    /// One that allows actions.
    #[must_use]
    pub fn allow<A: Into<String>>(
        sid: &'static str,
        why: &'static str,
        actions: impl IntoIterator<Item = A>,
        resources: impl IntoIterator<Item = Text>,
    ) -> Self {
        Self {
            sid,
            why,
            effect: Effect::Allow,
            principal: None,
            actions: actions.into_iter().map(Into::into).collect(),
            resources: resources.into_iter().collect(),
            conditions: Vec::new(),
        }
    }

    /// The same where a comparison holds.
    #[must_use]
    pub fn when<T: Into<Text>>(
        mut self,
        operator: &'static str,
        key: impl Into<String>,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.conditions.push(Comparison { operator, key: key.into(), values });
        self
    }

    /// The same with a principal.
    #[must_use]
    pub fn of(mut self, kind: &'static str, who: Text) -> Self {
        self.principal = Some((kind, who));
        self
    }

    fn node(&self) -> Node {
        let mut node = vec![
            ("Sid".to_owned(), Node::text(self.sid)),
            ("Effect".to_owned(), Node::text(if self.effect == Effect::Allow { "Allow" } else { "Deny" })),
        ];
        if let Some((kind, who)) = &self.principal {
            node.push(("Principal".to_owned(), Node::Map(vec![((*kind).to_owned(), Node::Text(who.clone()))])));
        }
        node.push(("Action".to_owned(), one_or_more(self.actions.iter().map(|a| Text::from(a.as_str())).collect())));
        if !self.resources.is_empty() {
            node.push(("Resource".to_owned(), one_or_more(self.resources.clone())));
        }
        let mut operators: Vec<(String, Node)> = Vec::new();
        for Comparison { operator, key, values } in &self.conditions {
            let entry = (key.clone(), one_or_more(values.clone()));
            match operators.iter_mut().find(|(known, _)| known == operator) {
                Some((_, Node::Map(keys))) => keys.push(entry),
                _ => operators.push(((*operator).to_owned(), Node::Map(vec![entry]))),
            }
        }
        if !operators.is_empty() {
            node.push(("Condition".to_owned(), Node::Map(operators)));
        }
        Node::Map(node)
    }
}

fn one_or_more(mut texts: Vec<Text>) -> Node {
    if texts.len() == 1 {
        return Node::Text(texts.remove(0));
    }
    Node::List(texts.into_iter().map(Node::Text).collect())
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Its statements.
    pub statements: Vec<Statement>,
}

impl Policy {
    /// The document, with what is open still open.
    #[must_use]
    pub fn node(&self) -> Node {
        Node::map([
            ("Version", Node::text("2012-10-17")),
            ("Statement", Node::List(self.statements.iter().map(Statement::node).collect())),
        ])
    }
}

/// A value of a document whose maps keep their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A string.
    Text(Text),
    /// A truth value.
    Flag(bool),
    /// A whole number.
    Number(u32),
    /// A list.
    List(Vec<Self>),
    /// A map, in this order.
    Map(Vec<(String, Self)>),
}

impl Node {
    /// A string.
    #[must_use]
    pub fn text(text: impl Into<Text>) -> Self {
        Self::Text(text.into())
    }

    /// A map.
    #[must_use]
    pub fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// With each string turned into another value.
    #[must_use]
    pub fn translate(&self, text: &impl Fn(&Text) -> Self) -> Self {
        match self {
            Self::Text(found) => text(found),
            Self::Flag(_) | Self::Number(_) => self.clone(),
            Self::List(items) => Self::List(items.iter().map(|item| item.translate(text)).collect()),
            Self::Map(entries) => {
                Self::Map(entries.iter().map(|(key, value)| (key.clone(), value.translate(text))).collect())
            }
        }
    }

    /// With a value for each parameter.
    #[must_use]
    pub fn resolve(&self, value: &impl Fn(Parameter) -> String) -> Self {
        self.translate(&|text| Self::text(text.resolve(value)))
    }
}

impl serde::Serialize for Node {
    /// As it is, where nothing is open; what is open is written by its name.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(&text.resolve(&|parameter| format!("<{parameter:?}>"))),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => serializer.serialize_u32(*number),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(entries) => serializer.collect_map(entries.iter().map(|(key, value)| (key, value))),
        }
    }
}
