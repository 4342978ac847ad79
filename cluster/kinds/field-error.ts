/** One thing wrong with an object, in Kubernetes' own vocabulary (field errors become causes of a 422 Status). */
export interface FieldError {
  /** Kubernetes' cause reason. */
  reason:
    | 'FieldValueRequired'
    | 'FieldValueInvalid'
    | 'FieldValueNotSupported'
    | 'FieldValueDuplicate'
    | 'FieldValueForbidden'
    | 'FieldValueTooLong'
    | 'FieldValueTypeInvalid';
  /** `spec.containers[0].image` */
  field: string;
  /** Quotes the value and says what would be right. */
  message: string;
}
