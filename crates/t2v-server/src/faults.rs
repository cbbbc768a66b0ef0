//! What is wrong with a request, gathered from all who look at it, so that the client is told once.

use std::collections::BTreeMap;

use crate::service::ServiceError;

/// Faults by field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(BTreeMap<String, Vec<String>>);

impl Faults {
    /// Adds a fault of a field.
    pub fn add(&mut self, field: &str, fault: impl Into<String>) {
        self.0.entry(field.to_owned()).or_default().push(fault.into());
    }

    /// Adds faults of fields that have none yet: what is said of a field first is what is nearest to what was written.
    pub fn merge(&mut self, faults: impl IntoIterator<Item = (String, Vec<String>)>) {
        for (field, faults) in faults {
            self.0.entry(field).or_insert(faults);
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was found, or `None` where it is at fault, which is noted.
    ///
    /// # Errors
    /// What is no fault of the request.
    pub fn take<T>(&mut self, found: Result<T, ServiceError>) -> Result<Option<T>, ServiceError> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(ServiceError::Faults(faults)) => {
                self.merge(faults);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// What was found, if nothing at all is wrong.
    ///
    /// # Errors
    /// All faults.
    pub fn or<T>(self, found: Option<T>) -> Result<T, ServiceError> {
        found.filter(|_| self.is_empty()).ok_or(ServiceError::Faults(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_wrong_is_told_at_the_end() {
        let mut faults = Faults::default();
        assert_eq!(faults.take(Ok(1)).unwrap(), Some(1));
        assert_eq!(
            faults.take::<()>(Err(ServiceError::fault("a", "First."))).unwrap(),
            None
        );
        assert_eq!(
            faults.take::<()>(Err(ServiceError::fault("a", "Second."))).unwrap(),
            None
        );
        faults.add("b", "Third.");
        assert!(matches!(
            faults.take::<()>(Err(ServiceError::NotFound)),
            Err(ServiceError::NotFound)
        ));
        let Err(ServiceError::Faults(all)) = faults.or(Some(1)) else {
            panic!("there are faults");
        };
        assert_eq!(all["a"], ["First."]);
        assert_eq!(all["b"], ["Third."]);
        assert_eq!(Faults::default().or(Some(1)).unwrap(), 1);
    }
}
